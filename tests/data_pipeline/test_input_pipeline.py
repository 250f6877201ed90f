"""The training stream: one order of examples, however it is interrupted or shared out."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import conversion, input_pipeline, shards
from data_pipeline.augment import Augmentation
from data_pipeline.labelled_picture import LabelledPicture, Source

_NUM_EXAMPLES = 11
_COUNTS = (4, 4, 3)  # in each of three shards


def _numbered(source):
    """A picture and an instance map of one number each."""
    k = source.details
    return LabelledPicture(np.full((4, 6, 3), k, np.uint8), np.full((4, 6), k + 1, np.int32))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    sources = [Source(f"picture_{k}", details=k) for k in range(_NUM_EXAMPLES)]
    conversion.write_split(_numbered, sources, str(folder), "train", num_shards=3)
    return shards.list_shards(str(folder / "train-*"))


def _stream(paths, count, **changes):
    """Returns (name, seed) of the first `count` examples."""
    settings = {
        "num_examples": _COUNTS,
        "batch_size": 1,
        "seed": 3,
        "shuffle_buffer": 4,
    } | changes
    dataset = input_pipeline.training_dataset(paths, **settings).unbatch().take(count)
    return [
        (example["name"].numpy().decode(), tuple(example["seed"].numpy().tolist()))
        for example in dataset
    ]


def _names(stream):
    return [name for name, _ in stream]


def test_training_dataset_shows_every_example_once_an_epoch(paths):
    names = _names(_stream(paths, 3 * _NUM_EXAMPLES))
    epochs = [names[start : start + _NUM_EXAMPLES] for start in range(0, len(names), _NUM_EXAMPLES)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(f"picture_{index}" for index in range(_NUM_EXAMPLES))
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_training_dataset_order_depends_on_its_seed_alone(paths):
    first = _stream(paths, 30)
    tf.random.set_seed(123)
    np.random.seed(5)
    assert _stream(paths, 30) == first
    assert _names(_stream(paths, 30, seed=4)) != _names(first)


def test_training_dataset_gives_every_example_a_seed_of_its_own(paths):
    stream = _stream(paths, 40)
    assert len({seed for _, seed in stream}) == 40
    assert not {seed for _, seed in stream} & {seed for _, seed in _stream(paths, 40, seed=4)}
    # Not the order but the number makes the seed.
    assert [seed for _, seed in _stream(paths, 40, shuffle_buffer=1)] == [
        seed for _, seed in stream
    ]


@pytest.mark.parametrize("start", [1, 5, 10, 11, 12, 27])
def test_training_dataset_resumes_where_it_stopped(paths, start):
    undisturbed = _stream(paths, 40)
    assert _stream(paths, 40 - start, start_example=start) == undisturbed[start:]


@pytest.mark.parametrize("num_pipelines, start", [(2, 0), (2, 8), (2, 13), (3, 7)])
def test_training_dataset_pipelines_share_the_stream(paths, num_pipelines, start):
    undisturbed = _stream(paths, 40)
    for index in range(num_pipelines):
        expected = [undisturbed[n] for n in range(start, 40) if n % num_pipelines == index]
        found = _stream(
            paths,
            len(expected),
            start_example=start,
            num_pipelines=num_pipelines,
            pipeline_index=index,
        )
        assert found == expected


def test_training_dataset_batches_do_not_change_the_stream(paths):
    assert _stream(paths, 40, batch_size=4) == _stream(paths, 40)
    # Batches run over the end of an epoch: 4 does not divide 11.
    assert _stream(paths, 28, batch_size=4, start_example=12) == _stream(paths, 40)[12:]


def test_training_dataset_yields_the_batch_keys(paths):
    dataset = input_pipeline.training_dataset(paths, num_examples=_COUNTS, batch_size=2, seed=0)
    assert {
        key: (spec.shape.as_list(), spec.dtype) for key, spec in dataset.element_spec.items()
    } == {
        "image": ([2, None, None, 3], tf.uint8),
        "instance": ([2, None, None], tf.int32),
        "semantic": ([2, None, None], tf.int32),
        "name": ([2], tf.string),
        "seed": ([2, 2], tf.int32),
    }
    for batch in dataset.take(8):
        for image, instance, name in zip(
            batch["image"], batch["instance"], batch["name"], strict=True
        ):
            number = int(name.numpy().decode().removeprefix("picture_"))
            assert (image.numpy() == number).all() and (instance.numpy() == number + 1).all()


@pytest.mark.parametrize("stated", [(4, 4, 2), (4, 5, 3)])
def test_training_dataset_refuses_an_epoch_of_another_length(paths, stated):
    with pytest.raises(tf.errors.FailedPreconditionError):
        _stream(paths, 40, num_examples=stated)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_examples": (0, 0, 0)}, "num_examples must be at least 1, got 0"),
        ({"num_examples": (4, 4)}, "one number a file, got 3 and 2"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"sharing": "auto"}, "sharing must be one of"),
        ({"sharing": "file", "num_pipelines": 4}, "as many files as pipelines, got 3 and 4"),
        (
            {"sharing": "file", "num_pipelines": 2, "start_example": 3},
            "start_example must be a multiple of the 2",
        ),
        ({"crop_size": (8, 8)}, "crop_size goes with an augmentation"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"start_example": -1}, "start_example must be at least 0"),
        ({"num_pipelines": 0}, "num_pipelines must be at least 1"),
        ({"num_pipelines": 2, "pipeline_index": 2}, r"pipeline_index must lie in \[0, 2\), got 2"),
        ({"shuffle_buffer": 0}, "shuffle_buffer must be at least 1"),
    ],
)
def test_training_dataset_refuses_bad_numbers(paths, changes, message):
    with pytest.raises(ValueError, match=message):
        _stream(paths, 1, **changes)


def test_datasets_refuse_no_shards():
    with pytest.raises(ValueError, match="at least one file"):
        _stream([], 1)
    with pytest.raises(ValueError, match="at least one file"):
        input_pipeline.evaluation_dataset([])


def test_evaluation_dataset_goes_through_the_shards_in_order(paths):
    expected = [
        f"picture_{index}" for shard in range(3) for index in range(shard, _NUM_EXAMPLES, 3)
    ]
    for batch_size in (1, 4):
        batches = list(input_pipeline.evaluation_dataset(paths, batch_size=batch_size))
        names = itertools.chain.from_iterable(batch["name"].numpy().tolist() for batch in batches)
        assert [name.decode() for name in names] == expected
        assert len(batches) == -(-_NUM_EXAMPLES // batch_size)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        input_pipeline.evaluation_dataset(paths, batch_size=0)


@pytest.fixture(scope="module")
def mixed_paths(tmp_path_factory):
    """Four pictures of different sizes: all ones, instance 1, class 2."""
    folder = tmp_path_factory.mktemp("mixed")

    def read(source):
        size = tuple(source.details)
        instance = np.ones(size, np.int32)
        return LabelledPicture(np.ones((*size, 3), np.uint8), instance, instance * 2)

    sizes = [(3, 5), (8, 2), (20, 9), (6, 6)]
    sources = [Source(f"{h}x{w}", details=[h, w]) for h, w in sizes]
    conversion.write_split(read, sources, str(folder), "val", num_shards=1)
    return shards.list_shards(str(folder / "val-*"))


def test_evaluation_dataset_keeps_native_sizes(mixed_paths):
    found = [
        tuple(batch["image"].shape) for batch in input_pipeline.evaluation_dataset(mixed_paths)
    ]
    assert found == [(1, 3, 5, 3), (1, 8, 2, 3), (1, 20, 9, 3), (1, 6, 6, 3)]


def test_evaluation_dataset_pads_a_batch_with_void(mixed_paths):
    first, second = input_pipeline.evaluation_dataset(mixed_paths, batch_size=2)
    assert first["image"].shape == (2, 8, 5, 3) and second["image"].shape == (2, 20, 9, 3)
    image = np.zeros((2, 8, 5))
    image[0, :3, :5] = image[1, :8, :2] = 1
    np.testing.assert_array_equal(first["image"], np.repeat(image[..., np.newaxis], 3, axis=3))
    np.testing.assert_array_equal(first["instance"], np.where(image, 1, -1))
    np.testing.assert_array_equal(first["semantic"], np.where(image, 2, -1))


def test_training_dataset_pads_labels_to_the_stride_with_void(mixed_paths):
    dataset = input_pipeline.training_dataset(
        mixed_paths, num_examples=(4,), batch_size=1, seed=0, stride=4
    )
    for batch in dataset.take(4):
        height, width = map(int, batch["name"][0].numpy().decode().split("x"))
        expected = np.full((-(-height // 4) * 4, -(-width // 4) * 4), -1)
        expected[:height, :width] = 1
        np.testing.assert_array_equal(batch["instance"][0], expected)
        # Every picture is 1 throughout, and so is what repeats its border.
        np.testing.assert_array_equal(batch["image"][0, :, :, 1], np.ones_like(expected))


_AUGMENTATION = Augmentation()


def test_training_dataset_augments_by_the_example_s_seed(mixed_paths):
    def stream(start, count, batch_size=1, **sharing):
        dataset = input_pipeline.training_dataset(
            mixed_paths,
            num_examples=(4,),
            batch_size=batch_size,
            seed=5,
            start_example=start,
            augmentation=_AUGMENTATION,
            crop_size=(16, 8),
            **sharing,
        )
        assert dataset.element_spec["image"].shape == (batch_size, 16, 8, 3)
        return list(dataset.unbatch().take(count).as_numpy_iterator())

    undisturbed = stream(0, 12)
    # Another epoch shows the same picture in another way.
    of_one = [x["image"] for x in undisturbed if x["name"] == b"20x9"]
    assert len(of_one) == 3 and (of_one[0] != of_one[1]).any()
    resumed = stream(6, 6, batch_size=2)
    second_half = stream(1, 5, num_pipelines=2, pipeline_index=1)
    for found, expected in (resumed, undisturbed[6:]), (second_half, undisturbed[1:11:2]):
        for x, y in zip(found, expected, strict=True):
            for key in y:
                np.testing.assert_array_equal(x[key], y[key], err_msg=key)


def test_training_dataset_batches_augmented_pictures_of_their_own_sizes(mixed_paths):
    dataset = input_pipeline.training_dataset(
        mixed_paths,
        num_examples=(4,),
        batch_size=4,
        seed=5,
        augmentation=Augmentation(crop_margin_px=0),
        stride=4,
    )
    for batch in dataset.take(2):
        assert batch["image"].shape[1] % 4 == 0 and batch["image"].shape[2] % 4 == 0
        # Where a picture was padded there is void, never background.
        assert set(np.unique(batch["instance"])) == {-1, 1}


@pytest.mark.parametrize("num_pipelines", [2, 3])
def test_training_dataset_shares_files(paths, num_pipelines):
    settings = {"sharing": "file", "num_pipelines": num_pipelines}
    streams = []
    for index in range(num_pipelines):
        count = sum(_COUNTS[index::num_pipelines])
        own = _stream(paths, 3 * count, pipeline_index=index, **settings)
        epochs = [sorted(_names(own[k : k + count])) for k in range(0, 3 * count, count)]
        # Picture k lies in file k mod 3: each pipeline sees its own files once an epoch.
        files = [f for f in range(3) if f % num_pipelines == index]
        numbers = [k for k in range(_NUM_EXAMPLES) if k % 3 in files]
        assert epochs == [sorted(f"picture_{k}" for k in numbers)] * 3
        streams.append(own)
        for start in (num_pipelines, 4 * num_pipelines):
            resumed = _stream(paths, 5, pipeline_index=index, start_example=start, **settings)
            assert resumed == own[start // num_pipelines :][:5]
    seeds = [seed for stream in streams for _, seed in stream]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    "counts, num_pipelines, sharing, why",
    [
        ((4, 4, 3), 1, "data", "one pipeline"),
        ((4, 4, 3), 4, "data", "3 files are fewer than 4"),
        ((4, 4, 3), 2, "data", "4 to 7 examples"),
        ((4, 4, 4, 4), 2, "file", "4 files give parts of 8 to 8 examples"),
        ((100,) * 10, 3, "data", "300 to 400"),
        ((100,) * 31, 3, "file", "1000 to 1100"),
        ((5, 0), 2, "data", "0 to 5"),
    ],
)
def test_choose_sharing(counts, num_pipelines, sharing, why):
    found, reason = input_pipeline.choose_sharing(counts, num_pipelines)
    assert found == sharing and why in reason


def test_fewer_files_than_pipelines_do_not_hang(mixed_paths):
    # One file among three: every pipeline still gets its third of the stream.
    for index in range(3):
        dataset = input_pipeline.training_dataset(
            *(mixed_paths,),
            **{"num_examples": (4,), "batch_size": 1, "seed": 0},
            num_pipelines=3,
            pipeline_index=index,
        )
        assert len(list(dataset.take(5))) == 5


def test_damage_stops_the_stream_and_is_found_by_name(paths, tmp_path):
    copies = []
    for path in paths:
        copies.append(str(tmp_path / path.rsplit("/", 1)[1]))
        tf.io.gfile.copy(path, copies[-1])
    with open(copies[1], "r+b") as file:
        file.seek(30)
        file.write(b"\xff\xff")
    with pytest.raises(tf.errors.DataLossError):
        _stream(copies, _NUM_EXAMPLES)
    assert shards.find_damage(copies).startswith(f"{copies[1]}: record 0: ")
