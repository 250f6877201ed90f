"""Records: what goes in comes out, and what must not go in is refused by name."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipeline import schema
from data_pipeline.labelled_picture import LabelledPicture


def _picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    instance = rng.choice(np.array([-1, 0, 1, 254, 255, 256, 369, 65534]), (height, width)).astype(
        np.int32
    )
    semantic = rng.choice(np.array([-1, 0, 1, 20, 254]), (height, width)).astype(np.int32)
    return image, instance, semantic


def _parse_in_pipeline(serialized):
    dataset = tf.data.Dataset.from_tensors(serialized).map(schema.parse_example)
    return next(iter(dataset))


@pytest.mark.parametrize("parse", [schema.parse_example, _parse_in_pipeline])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (13, 32)])
def test_parse_example_returns_what_was_encoded(parse, size):
    image, instance, semantic = _picture(*size)
    parsed = parse(schema.encode_example(LabelledPicture(image, instance, semantic), "küche.jpg"))
    np.testing.assert_array_equal(parsed["image"], image)
    np.testing.assert_array_equal(parsed["instance"], instance)
    np.testing.assert_array_equal(parsed["semantic"], semantic)
    assert parsed["name"].numpy().decode() == "küche.jpg"
    assert (parsed["image"].dtype, parsed["instance"].dtype, parsed["semantic"].dtype) == (
        tf.uint8,
        tf.int32,
        tf.int32,
    )


def test_parse_example_has_static_ranks():
    spec = tf.data.Dataset.from_tensors("").map(schema.parse_example).element_spec
    assert spec["image"].shape.as_list() == [None, None, 3]
    assert spec["instance"].shape.as_list() == [None, None]
    assert spec["semantic"].shape.as_list() == [None, None]


@pytest.mark.parametrize("parse", [schema.parse_example, _parse_in_pipeline])
def test_parse_example_derives_a_missing_semantic_map(parse):
    instance = np.array([[-1, 0, 1], [300, 0, 2]], np.int32)
    picture = LabelledPicture(np.zeros((2, 3, 3), np.uint8), instance)
    parsed = parse(schema.encode_example(picture, "a"))
    np.testing.assert_array_equal(parsed["semantic"], [[-1, 0, 1], [1, 0, 1]])


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_encode_example_stores_encoded_pictures_untouched(form):
    image, instance, _ = _picture(6, 9)
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    serialized = schema.encode_example(LabelledPicture(file.getvalue(), instance), "a")
    fields = tf.train.Example.FromString(serialized).features.feature
    assert fields["image/encoded"].bytes_list.value[0] == file.getvalue()
    assert fields["image/format"].bytes_list.value[0] == form.encode()
    assert fields["image/height"].int64_list.value[0] == 6
    assert fields["image/width"].int64_list.value[0] == 9
    np.testing.assert_array_equal(
        schema.parse_example(serialized)["image"], tf.io.decode_image(file.getvalue())
    )


def test_encode_example_gives_equal_bytes_for_equal_input():
    image, instance, semantic = _picture(11, 4)
    picture = LabelledPicture(image, instance, semantic)
    first, second = (schema.encode_example(picture, "a") for _ in range(2))
    assert first == second
    # A map of fields has no order of its own, so one is fixed: by name.
    names = sorted(tf.train.Example.FromString(first).features.feature)
    positions = [first.index(name.encode()) for name in names]
    assert len(names) == 9 and positions == sorted(positions)


@pytest.mark.parametrize("largest, bits", [(254, 8), (255, 16), (65534, 16)])
def test_encode_example_takes_8_bits_where_ids_and_void_fit(largest, bits):
    instance = np.array([[-1, 0, 1], [largest, 3, 2]], np.int32)
    picture = LabelledPicture(np.zeros((2, 3, 3), np.uint8), instance)
    serialized = schema.encode_example(picture, "a")
    png = tf.train.Example.FromString(serialized).features.feature["instance/encoded"]
    with Image.open(io.BytesIO(png.bytes_list.value[0])) as stored:
        assert stored.mode == {8: "L", 16: "I;16"}[bits] or stored.mode == "I"
    for parse in (schema.parse_example, _parse_in_pipeline):
        np.testing.assert_array_equal(parse(serialized)["instance"], instance)


def test_encode_example_counts_distinct_ids_without_background_and_void():
    instance = np.array([[-1, 0, 7], [300, 7, 1]], np.int32)  # ids 1, 7, 300
    picture = LabelledPicture(np.zeros((2, 3, 3), np.uint8), instance)
    fields = tf.train.Example.FromString(schema.encode_example(picture, "a")).features.feature
    assert fields["instance/count"].int64_list.value[0] == 3


@pytest.mark.parametrize("num, largest", [(1, 3), (4, 254), (9, 700)])
def test_parse_annotators_returns_what_was_encoded(num, largest):
    rng = np.random.default_rng(num)
    instance = rng.integers(-1, largest + 1, (num, 5, 7)).astype(np.int32)
    boundary = rng.random((num, 5, 7)) < 0.3
    picture = LabelledPicture(np.zeros((5, 7, 3), np.uint8), instance[0], None, instance, boundary)
    serialized = schema.encode_example(picture, "a")
    for found in (
        schema.parse_annotators(serialized),
        next(iter(tf.data.Dataset.from_tensors(serialized).map(schema.parse_annotators))),
    ):
        np.testing.assert_array_equal(found["annotator_instance"], instance)
        np.testing.assert_array_equal(found["annotator_boundary"], boundary)
        assert found["annotator_instance"].dtype == tf.int32
        assert found["annotator_boundary"].dtype == tf.bool
    np.testing.assert_array_equal(schema.parse_example(serialized)["instance"], instance[0])


def test_parse_annotators_refuses_a_record_without_any():
    serialized = schema.encode_example(LabelledPicture(_IMAGE, _LABELS), "a")
    with pytest.raises(tf.errors.InvalidArgumentError, match="annotator"):
        schema.parse_annotators(serialized)


@pytest.mark.parametrize(
    "instance, boundary, message",
    [
        (np.zeros((2, 3), int), None, r"annotators' instance maps must be \[K, 2, 3\]"),
        (np.zeros((0, 2, 3), int), None, r"annotators' instance maps must be \[K, 2, 3\]"),
        (None, np.zeros((2, 3, 2), bool), r"annotators' boundary maps must be \[K, 2, 3\]"),
        (
            np.zeros((2, 2, 3), int),
            np.zeros((1, 2, 3), bool),
            "the annotators' maps must be equally many",
        ),
        (np.full((2, 2, 3), -2), None, "annotators' instance must lie in"),
    ],
)
def test_encode_example_refuses_bad_annotators_by_name(instance, boundary, message):
    picture = LabelledPicture(_IMAGE, _LABELS, None, instance, boundary)
    with pytest.raises(ValueError, match=f"a.png: {message}"):
        schema.encode_example(picture, "a.png")


_IMAGE = np.zeros((2, 3, 3), np.uint8)
_LABELS = np.zeros((2, 3), np.int32)


@pytest.mark.parametrize(
    "image, instance, semantic, message",
    [
        (_IMAGE.astype(np.float32), _LABELS, None, "a.png: image must be a uint8 array"),
        (_IMAGE[..., 0], _LABELS, None, "a.png: image must be a uint8 array"),
        (_IMAGE[:0], _LABELS[:0], None, "a.png: image must have at least one pixel"),
        (b"GIF89a", _LABELS, None, "a.png: image bytes must be a JPEG or PNG"),
        (b"\x89PNG\r\n\x1a\n....", _LABELS, None, "a.png: this png file cannot be decoded"),
        (_IMAGE, _LABELS.astype(np.float32), None, "a.png: instance must be an integer array"),
        (_IMAGE, _LABELS.T, None, "a.png: instance must have the picture's size"),
        (_IMAGE, _LABELS - 2, None, r"a.png: instance must lie in \[-1, 65534\]"),
        (_IMAGE, _LABELS + 65535, None, r"a.png: instance must lie in \[-1, 65534\]"),
        (_IMAGE, _LABELS, _LABELS + 255, r"a.png: semantic must lie in \[-1, 254\]"),
        (_IMAGE, _LABELS, _LABELS[:1], "a.png: semantic must have the picture's size"),
    ],
)
def test_encode_example_refuses_bad_input_by_name(image, instance, semantic, message):
    with pytest.raises(ValueError, match=message):
        schema.encode_example(LabelledPicture(image, instance, semantic), "a.png")


def test_encode_example_refuses_an_empty_name():
    with pytest.raises(ValueError, match="name that is not empty"):
        schema.encode_example(LabelledPicture(_IMAGE, _LABELS), "")


def _edited(serialized, edit):
    example = tf.train.Example.FromString(serialized)
    edit(example.features.feature)
    return example.SerializeToString()


def _set_version_2_without_image(fields):
    fields["schema/version"].int64_list.value[0] = 2
    del fields["image/encoded"]


@pytest.mark.parametrize("parse", [schema.parse_example, _parse_in_pipeline])
@pytest.mark.parametrize(
    "edit, version",
    [(_set_version_2_without_image, 2), (lambda fields: fields.pop("schema/version"), 0)],
)
def test_parse_example_refuses_another_version_and_tells_the_cure(parse, edit, version):
    serialized = _edited(
        schema.encode_example(LabelledPicture(_IMAGE, _LABELS), "kitchen.jpg"), edit
    )
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        parse(serialized)
    for part in (
        "kitchen.jpg",
        "has schema version",
        str(version),
        "reads version 1",
        "write the shards anew",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("parse", [schema.parse_example, _parse_in_pipeline])
def test_parse_example_refuses_maps_of_another_size(parse):
    other = tf.io.encode_png(np.zeros((3, 2, 1), np.uint16)).numpy()

    def edit(fields):
        fields["instance/encoded"].bytes_list.value[0] = other

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"kitchen\.jpg"):
        parse(_edited(schema.encode_example(LabelledPicture(_IMAGE, _LABELS), "kitchen.jpg"), edit))
