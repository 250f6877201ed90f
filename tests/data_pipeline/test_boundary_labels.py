"""The boundary map that training sees, made of what several annotators drew."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import boundary_labels, input_pipeline, schema
from data_pipeline.boundary_labels import boundary_label, instance_boundary
from data_pipeline.labelled_picture import LabelledPicture

# Three annotators of one row of 12 pixels: all mean the boundary near 2, two the one near 7 though
# three pixels apart, and the third alone draws 11.
_DRAWN = np.zeros([3, 1, 12], bool)
_DRAWN[0, 0, [2, 6]] = True
_DRAWN[1, 0, [3, 9]] = True
_DRAWN[2, 0, [4, 11]] = True


def test_boundary_label_by_any_is_the_union():
    expected = [[0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 0, 1]]
    assert boundary_label(tf.constant(_DRAWN), "1").numpy().tolist() == expected


def test_boundary_label_of_two_counts_those_within_two_pixels():
    # At 2, 3 and 4 all three are within two pixels; at 6 annotators 1 and 3 (4); 9 and 11 are two
    # apart, so 2 and 3 agree there.
    expected = [[0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 0, 1]]
    assert boundary_label(tf.constant(_DRAWN), "2").numpy().tolist() == expected


def test_boundary_label_that_too_few_agree_on_is_void():
    # Of three: at 2 (within 0..4: 2, 3, 4), 3, 4 (2..6: 2, 3, 4, 6) all; at 6 (4..8) only two.
    expected = [[0, 0, 1, 1, 1, 0, -1, 0, 0, -1, 0, -1]]
    assert boundary_label(tf.constant(_DRAWN), "3").numpy().tolist() == expected


def test_boundary_label_asks_no_more_than_there_are():
    for agreement in ("4", "17"):
        found = boundary_label(tf.constant(_DRAWN), agreement)
        np.testing.assert_array_equal(found, boundary_label(tf.constant(_DRAWN), "3"))
    alone = boundary_label(tf.constant(_DRAWN[:1]), "3")
    np.testing.assert_array_equal(alone, _DRAWN[0])


def test_boundary_label_drawn_is_one_annotator_and_each_as_often():
    chosen = []
    for k in range(300):
        found = boundary_label(tf.constant(_DRAWN), "drawn", tf.constant([k, 5])).numpy()
        chosen.append(next(i for i in range(3) if np.array_equal(found, _DRAWN[i])))
    # 100 each expected, standard deviation (300 · 1/3 · 2/3)^½ = 8.2.
    assert all(70 < count < 130 for count in np.bincount(chosen, minlength=3))


@pytest.mark.parametrize("agreement", ["0", "-1", "any", "1.5", ""])
def test_boundary_label_unknown_agreement_raises(agreement):
    with pytest.raises(ValueError, match="boundary agreement must be drawn, or"):
        boundary_label(tf.constant(_DRAWN), agreement)


def test_boundary_label_drawn_without_seed_raises():
    with pytest.raises(ValueError, match="needs a seed"):
        boundary_label(tf.constant(_DRAWN), "drawn")


def test_instance_boundary_preset():
    instance = [[0, 0, 1, 1], [0, 2, 1, 1], [-1, 2, 2, 2]]
    # (0, 1) has 1 on its right and 2 below; (1, 0) has 2 on its right, void below, which is no
    # boundary; (1, 1) has 1 on its right, (1, 2) and (1, 3) have 2 below; void itself has none.
    expected = [[0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    found = instance_boundary(tf.constant(instance))
    assert found.shape == [1, 3, 4]
    np.testing.assert_array_equal(found[0], np.array(expected, bool))


def test_instance_boundary_has_none_beside_void():
    found = instance_boundary(tf.constant([[0, -1, 3], [-1, 3, 3]]))
    assert not found.numpy().any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_instance_boundary_of_one_instance_is_empty(shape):
    assert not instance_boundary(tf.ones(shape, tf.int32)).numpy().any()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A picture with two annotators, and one without."""
    path = str(tmp_path_factory.mktemp("boundaries") / "train-00000-of-00001.tfrecord")
    instance = np.zeros([16, 24], np.int32)
    instance[4:10, 6:18] = 1
    drawn = np.zeros([2, 16, 24], bool)
    drawn[0, 3], drawn[1, :, 7] = True, True
    image = np.full([16, 24, 3], 90, np.uint8)
    annotated = LabelledPicture(image, instance, None, np.stack([instance, instance]), drawn)
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(schema.encode_example(annotated, "annotated"))
        writer.write(schema.encode_example(LabelledPicture(image, instance), "plain"))
    return [path], instance, drawn


def test_training_dataset_has_boundaries_on_request(shards):
    paths, instance, drawn = shards
    dataset = input_pipeline.training_dataset(
        paths, num_examples=[2], batch_size=1, seed=0, boundary_agreement="1"
    )
    found = {x["name"][0].numpy(): x["boundary"][0].numpy() for x in dataset.take(2)}
    np.testing.assert_array_equal(found[b"annotated"], drawn.any(axis=0))
    np.testing.assert_array_equal(found[b"plain"], instance_boundary(tf.constant(instance))[0])
    plain = input_pipeline.training_dataset(paths, num_examples=[2], batch_size=1, seed=0)
    assert "boundary" not in plain.element_spec


def test_training_dataset_has_no_boundary_to_learn_where_the_map_is_void(tmp_path):
    instance = np.array([[0, 0, -1, 1, 1, 2]], np.int32)
    path = str(tmp_path / "void.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        picture = LabelledPicture(np.zeros([1, 6, 3], np.uint8), instance)
        writer.write(schema.encode_example(picture, "void"))
    dataset = input_pipeline.training_dataset(
        [path], num_examples=[1], batch_size=1, seed=0, boundary_agreement="1"
    )
    # The pixel of 1 beside 2 is boundary; void, which may hide another, is void.
    assert next(iter(dataset))["boundary"][0].numpy().tolist() == [[0, 0, -1, 0, 1, 0]]


def test_training_dataset_moves_boundaries_with_the_picture(shards):
    paths, _, drawn = shards
    dataset = input_pipeline.training_dataset(
        paths,
        num_examples=[2],
        batch_size=1,
        seed=0,
        augmentation=input_pipeline.Augmentation(
            scale=(1.0, 1.0), rotation_degrees=0.0, crop_margin_px=0, hue_degrees=0.0
        ),
        boundary_agreement="1",
    )
    flipped = 0
    for example in dataset.take(40):
        if example["name"][0].numpy() != b"annotated":
            continue
        union = drawn.any(axis=0)
        found = example["boundary"][0].numpy()
        assert np.array_equal(found, union) or np.array_equal(found, union[:, ::-1])
        flipped += np.array_equal(found, union[:, ::-1])
    assert 0 < flipped < 20


def test_evaluation_dataset_has_all_annotators_on_request(shards):
    paths, instance, drawn = shards
    annotated, plain = input_pipeline.evaluation_dataset(paths, with_boundaries=True)
    np.testing.assert_array_equal(annotated["annotator_boundary"][0], drawn)
    np.testing.assert_array_equal(
        plain["annotator_boundary"][0], instance_boundary(tf.constant(instance))
    )
    with pytest.raises(ValueError, match="batch size of 1, got 2"):
        input_pipeline.evaluation_dataset(paths, batch_size=2, with_boundaries=True)


def test_agreements_are_said_in_the_error():
    with pytest.raises(ValueError, match=boundary_labels.AGREEMENTS):
        boundary_labels.check_agreement("most")
