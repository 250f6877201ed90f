"""Errors of a stream of records name the record at fault."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import conversion, damage, input_pipeline, schema, shards
from data_pipeline.labelled_picture import LabelledPicture, Source


def _picture(source):
    return LabelledPicture(np.zeros([4, 6, 3], np.uint8), np.full([4, 6], source.details, np.int32))


@pytest.fixture
def paths(tmp_path):
    sources = [Source(f"p_{k}", details=k + 1) for k in range(6)]
    conversion.write_split(_picture, sources, str(tmp_path), "train", num_shards=2)
    return shards.list_shards(f"{tmp_path}/train-*")


def _records(path):
    return [record.numpy() for record in tf.data.TFRecordDataset(path)]


def _rewrite(path, records):
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)


def _read(paths, is_training):
    with damage.named(paths):
        if is_training:
            counts = shards.count_examples(paths)
            dataset = input_pipeline.training_dataset(
                paths, num_examples=counts, batch_size=1, seed=0
            ).take(sum(counts) + 1)
        else:
            dataset = input_pipeline.evaluation_dataset(paths)
        return len(list(dataset))


def _without(record, field):
    example = tf.train.Example.FromString(record)
    del example.features.feature[field]
    return example.SerializeToString()


def _with_png(record, field, png):
    example = tf.train.Example.FromString(record)
    example.features.feature[field].bytes_list.value[0] = png
    return example.SerializeToString()


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize(
    "change, words",
    [
        (lambda records: records[:2], "record 2: the file ends here, the manifest lists 3"),
        (
            lambda records: [records[0], _without(records[1], "instance/encoded"), records[2]],
            r"record 1 \(p_3\): .*instance/encoded",
        ),
        (
            lambda records: [*records[:2], _with_png(records[2], "image/encoded", b"none")],
            r"record 2 \(p_5\): ",
        ),
    ],
)
def test_named_names_the_record(paths, is_training, change, words):
    assert _read(paths, is_training) == 6 + is_training
    _rewrite(paths[1], change(_records(paths[1])))
    with pytest.raises(ValueError, match=rf"{paths[1]}: {words}"):
        _read(paths, is_training)


def test_named_names_a_flipped_bit(paths):
    with open(paths[0], "r+b") as file:
        file.seek(40)
        file.write(b"\xff\x00")
    with pytest.raises(ValueError, match=f"{paths[0]}: record 0: "):
        _read(paths, False)


def test_named_names_annotators_of_another_size(tmp_path):
    picture = _picture(Source("p", details=1))
    maps = np.ones([1, 4, 6], np.int32)
    picture = picture._replace(annotator_instance=maps, annotator_boundary=maps > 0)
    example = tf.train.Example.FromString(schema.encode_example(picture, "p_0"))
    small = tf.io.encode_png(np.zeros([4, 3, 1], np.uint8)).numpy()
    example.features.feature["annotator/boundary/encoded"].bytes_list.value[0] = small
    path = str(tmp_path / "a.tfrecord")
    _rewrite(path, [example.SerializeToString()])
    with pytest.raises(ValueError, match=rf"{path}: record 0 .*size \(4, 3\), not \(4, 6\)"):
        with damage.named([path]):
            next(
                iter(
                    input_pipeline.training_dataset(
                        *([path],),
                        **{"num_examples": [1], "batch_size": 1, "seed": 0},
                        boundary_agreement="1",
                    )
                )
            )


def test_named_leaves_what_is_not_the_records_fault(paths):
    with pytest.raises(tf.errors.InvalidArgumentError, match="of the model"), damage.named(paths):
        raise tf.errors.InvalidArgumentError(None, None, "of the model")
    with pytest.raises(KeyError), damage.named(paths):
        raise KeyError(schema.SCHEMA_VERSION)


def test_evaluation_without_a_manifest_takes_what_is_there(paths, tmp_path):
    _rewrite(paths[1], _records(paths[1])[:2])
    (tmp_path / "manifest.json").unlink()
    assert _read(paths, False) == 5
