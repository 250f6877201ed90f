"""The training stream: one order of examples, however it is interrupted or shared out."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import input_pipeline, schema, shards

_NUM_EXAMPLES = 11


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    examples = (
        schema.encode_example(
            np.full((4, 6, 3), index, np.uint8),
            np.full((4, 6), index - 1, np.int32),
            name=f"picture_{index}",
        )
        for index in range(_NUM_EXAMPLES)
    )
    shards.write_shards(examples, str(folder), "train", 3, {})
    return shards.list_shards(str(folder / "train-*"))


def _stream(paths, count, **changes):
    """Returns (name, seed) of the first `count` examples."""
    settings = {
        "num_examples": _NUM_EXAMPLES,
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
    dataset = input_pipeline.training_dataset(
        paths, num_examples=_NUM_EXAMPLES, batch_size=2, seed=0
    )
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
            assert (image.numpy() == number).all() and (instance.numpy() == number - 1).all()


@pytest.mark.parametrize("stated", [_NUM_EXAMPLES - 1, _NUM_EXAMPLES + 1])
def test_training_dataset_refuses_an_epoch_of_another_length(paths, stated):
    with pytest.raises(tf.errors.FailedPreconditionError):
        _stream(paths, 40, num_examples=stated)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_examples": 0}, "num_examples must be at least 1, got 0"),
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


def test_evaluation_dataset_keeps_native_sizes(tmp_path):
    sizes = [(3, 5), (8, 2)]
    examples = [
        schema.encode_example(
            np.zeros((*size, 3), np.uint8), np.zeros(size, np.int32), name=str(size)
        )
        for size in sizes
    ]
    shards.write_shards(examples, str(tmp_path), "val", 1, {})
    paths = shards.list_shards(str(tmp_path / "val-*"))
    found = [tuple(batch["image"].shape) for batch in input_pipeline.evaluation_dataset(paths)]
    assert found == [(1, 3, 5, 3), (1, 8, 2, 3)]
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(input_pipeline.evaluation_dataset(paths, batch_size=2))


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
