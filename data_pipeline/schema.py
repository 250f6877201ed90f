"""The contract of one record: which tf.train.Example fields it has and how they are coded.

No other file knows a field's name. A record holds the picture, its instance map as a PNG of 16 bits
(void 65535), or of 8 (void 255) where no id exceeds 254, since that takes half the time to decode;
and, where there are such, its semantic map as an 8-bit PNG (void 255) and the instance maps and
boundaries of several annotators, each stacked into one PNG. Parsed, void is -1 in all maps, so 255
and beyond are instances like any other.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from data_pipeline.labelled_picture import LabelledPicture

SCHEMA_VERSION = 1

_IMAGE = "image/encoded"
_HEIGHT = "image/height"
_WIDTH = "image/width"
_NAME = "image/filename"
_FORMAT = "image/format"
_INSTANCE = "instance/encoded"
_NUM_INSTANCES = "instance/count"
_SEMANTIC = "semantic/encoded"
_NUM_ANNOTATORS = "annotator/count"
_ANNOTATOR_INSTANCE = "annotator/instance/encoded"
_ANNOTATOR_BOUNDARY = "annotator/boundary/encoded"
_VERSION = "schema/version"

# By bits of a sample: void is the largest number of its type.
_VOID = {8: 255, 16: 65535}
# Where a PNG file says how many bits its samples have.
_PNG_DEPTH_BYTE = 24
# Pinned, so that equal arrays give equal bytes whatever default the PNG writer has.
_PNG_COMPRESSION = 6
_SIGNATURES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}


def encode_example(picture: LabelledPicture, name: str) -> bytes:
    """Returns one serialized tf.train.Example; equal input gives equal bytes.

    Args:
      picture: image and label maps, see `LabelledPicture`. The bytes of a file are read as RGB:
        transparency is dropped and an EXIF rotation is not applied.
      name: the picture's name; error messages and results refer to it. Not empty.

    Returns:
      The serialized record.

    Raises:
      ValueError: the name is empty, a shape, type or range is not as `LabelledPicture` says, the
        sizes differ, or the bytes of the image are no readable JPEG or PNG.
    """
    if not name:
        raise ValueError("a record needs a name that is not empty; pass the picture's file name.")
    encoded, image_format, size = _encode_image(picture.image, name)
    instance = picture.instance
    features = {
        _IMAGE: _bytes_feature(encoded),
        _HEIGHT: _int_feature(size[0]),
        _WIDTH: _int_feature(size[1]),
        _NAME: _bytes_feature(name.encode()),
        _FORMAT: _bytes_feature(image_format.encode()),
        _INSTANCE: _bytes_feature(_encode_map(instance, size, f"{name}: instance", (8, 16))),
        _NUM_INSTANCES: _int_feature(len(np.unique(instance[instance > 0]))),
        _VERSION: _int_feature(SCHEMA_VERSION),
    }
    if picture.semantic is not None:
        semantic = _encode_map(picture.semantic, size, f"{name}: semantic", (8,))
        features[_SEMANTIC] = _bytes_feature(semantic)
    features |= _annotator_features(picture, size, name)
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # The fields are a protobuf map, whose order is free unless asked for.
    return example.SerializeToString(deterministic=True)


def parse_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the tensors of one record. Runs eagerly and inside tf.data.

    Args:
      serialized: scalar string, one record written by `encode_example`.

    Returns:
      `image` uint8 [H, W, 3]; `instance` int32 [H, W] (0 background, -1 void); `semantic` int32 [H,
      W] (0 background, -1 void; in a record without one: 1 on instances, else as `instance`);
      `name` scalar string.

    Raises:
      tf.errors.InvalidArgumentError: the record has another schema version (the message names the
        record, both versions and the cure), lacks a field, or its maps differ in size from its
        picture.
    """
    # The version comes first and alone: a record of another version may lack the other fields.
    header = tf.io.parse_single_example(
        serialized,
        {
            _NAME: tf.io.FixedLenFeature([], tf.string, default_value="(no name)"),
            _VERSION: tf.io.FixedLenFeature([], tf.int64, default_value=0),
        },
    )
    with tf.control_dependencies([_assert_version(header)]):
        serialized = tf.identity(serialized)
    fields = tf.io.parse_single_example(
        serialized,
        {
            _IMAGE: tf.io.FixedLenFeature([], tf.string),
            _INSTANCE: tf.io.FixedLenFeature([], tf.string),
            _SEMANTIC: tf.io.FixedLenFeature([], tf.string, default_value=""),
        },
    )
    # decode_png reads JPEG as well, and unlike decode_image it sets a static rank.
    image = tf.io.decode_png(fields[_IMAGE], channels=3)
    instance = _decode_map(fields[_INSTANCE])
    semantic = tf.cond(
        tf.equal(fields[_SEMANTIC], ""),
        lambda: tf.where(instance > 0, tf.ones_like(instance), instance),
        lambda: _decode_map(fields[_SEMANTIC]),
    )
    semantic = tf.ensure_shape(semantic, [None, None])
    with tf.control_dependencies(_assert_sizes(header[_NAME], image, instance, semantic)):
        image = tf.identity(image)
    return {"image": image, "instance": instance, "semantic": semantic, "name": header[_NAME]}


def parse_annotators(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns what each annotator of one record drew. Runs eagerly and inside tf.data.

    Args:
      serialized: scalar string, one record written by `encode_example` with both kinds of maps of
        annotators.

    Returns:
      `annotator_instance` int32 [K, H, W] (0 background, -1 void); `annotator_boundary` bool [K, H,
      W].

    Raises:
      tf.errors.InvalidArgumentError: the record has no annotators.
    """
    fields = tf.io.parse_single_example(
        serialized,
        {
            _NUM_ANNOTATORS: tf.io.FixedLenFeature([], tf.int64),
            _ANNOTATOR_INSTANCE: tf.io.FixedLenFeature([], tf.string),
            _ANNOTATOR_BOUNDARY: tf.io.FixedLenFeature([], tf.string),
        },
    )

    def unstack(encoded: tf.Tensor) -> tf.Tensor:
        stacked = _decode_map(encoded)
        num = tf.cast(fields[_NUM_ANNOTATORS], tf.int32)
        return tf.reshape(stacked, [num, tf.shape(stacked)[0] // num, tf.shape(stacked)[1]])

    return {
        "annotator_instance": unstack(fields[_ANNOTATOR_INSTANCE]),
        "annotator_boundary": unstack(fields[_ANNOTATOR_BOUNDARY]) > 0,
    }


def record_contents(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns what a record holds, without decoding it. Runs eagerly and inside tf.data.

    Args:
      serialized: scalar string, a record, of whatever schema version.

    Returns:
      `name` scalar string, "no name" without one; `has_semantic`, bool, whether it has a semantic
      map of its own; `has_annotators`, bool, whether `parse_annotators` can read it.

    Raises:
      tf.errors.InvalidArgumentError: it is no tf.train.Example.
    """
    keys = (_SEMANTIC, _ANNOTATOR_INSTANCE, _ANNOTATOR_BOUNDARY)
    features = {key: tf.io.FixedLenFeature([], tf.string, default_value="") for key in keys}
    features[_NAME] = tf.io.FixedLenFeature([], tf.string, default_value="no name")
    fields = tf.io.parse_single_example(serialized, features)
    has_instances, has_boundaries = (tf.not_equal(fields[key], "") for key in keys[1:])
    return {
        "name": fields[_NAME],
        "has_semantic": tf.not_equal(fields[_SEMANTIC], ""),
        "has_annotators": tf.logical_and(has_instances, has_boundaries),
    }


def encoded_picture(serialized: tf.Tensor) -> tuple[str, bytes]:
    """Returns the name of a record and the bytes of its picture, JPEG or PNG. Runs eagerly only.

    Args:
      serialized: scalar string, a record written by `encode_example`.

    Raises:
      tf.errors.InvalidArgumentError: it is no tf.train.Example, lacks a name or a picture, or has
        another schema version.
    """
    features = {key: tf.io.FixedLenFeature([], tf.string) for key in (_NAME, _IMAGE)}
    features[_VERSION] = tf.io.FixedLenFeature([], tf.int64, default_value=0)
    fields = tf.io.parse_single_example(serialized, features)
    _assert_version(fields)
    return fields[_NAME].numpy().decode(), fields[_IMAGE].numpy()


def _encode_image(image: np.ndarray | bytes, name: str) -> tuple[bytes, str, tuple[int, int]]:
    """Returns the encoded picture, its format ("png" or "jpeg") and its (height, width)."""
    if isinstance(image, bytes):
        image_format = next(
            (form for head, form in _SIGNATURES.items() if image.startswith(head)), None
        )
        if image_format is None:
            raise ValueError(
                f"{name}: image bytes must be a JPEG or PNG file, they start with {image[:8]!r}."
            )
        try:
            height, width, _ = tf.io.decode_png(image, channels=3).shape
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"{name}: this {image_format} file cannot be decoded: {error.message}"
            ) from error
        return image, image_format, (height, width)
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
    ):
        raise ValueError(f"{name}: image must be a uint8 array [H, W, 3], got {_describe(image)}.")
    if 0 in image.shape:
        raise ValueError(f"{name}: image must have at least one pixel, got shape {image.shape}.")
    return tf.io.encode_png(image, compression=_PNG_COMPRESSION).numpy(), "png", image.shape[:2]


def _annotator_features(
    picture: LabelledPicture, size: tuple[int, int], name: str
) -> dict[str, tf.train.Feature]:
    """Returns the fields of the annotators: their maps one below the other, in one PNG a kind."""
    kinds = {
        _ANNOTATOR_INSTANCE: (picture.annotator_instance, "annotators' instance", (8, 16)),
        _ANNOTATOR_BOUNDARY: (picture.annotator_boundary, "annotators' boundary", (8,)),
    }
    present = {key: kind for key, kind in kinds.items() if kind[0] is not None}
    features = {}
    for key, (maps, what, depths) in present.items():
        if maps.ndim != 3 or len(maps) == 0 or maps.shape[1:] != tuple(size):
            raise ValueError(
                f"{name}: {what} maps must be [K, {size[0]}, {size[1]}], the picture's size, got "
                f"shape {maps.shape}."
            )
        stacked = maps.reshape(-1, size[1]) * 1  # bool to int
        encoded = _encode_map(stacked, stacked.shape, f"{name}: {what}", depths)
        features[key] = _bytes_feature(encoded)
    if len({len(maps) for maps, _, _ in present.values()}) > 1:
        raise ValueError(f"{name}: the annotators' maps must be equally many of either kind.")
    if present:
        features[_NUM_ANNOTATORS] = _int_feature(len(next(iter(present.values()))[0]))
    return features


def _encode_map(
    labels: np.ndarray, size: tuple[int, int], what: str, depths: tuple[int, ...]
) -> bytes:
    """Returns a label map as PNG of the first of the depths (bits a sample) that holds its ids."""
    if not isinstance(labels, np.ndarray) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{what} must be an integer array, got {_describe(labels)}.")
    if labels.shape != tuple(size):
        raise ValueError(
            f"{what} must have the picture's size {tuple(size)}, got shape {labels.shape}."
        )
    depth = next((d for d in depths if labels.max() < _VOID[d]), depths[-1])
    void = _VOID[depth]
    if labels.min() < -1 or labels.max() >= void:
        most = _VOID[depths[-1]] - 1
        raise ValueError(
            f"{what} must lie in [-1, {most}], got [{labels.min()}, {labels.max()}]; code void "
            "as -1 and renumber ids that are too large."
        )
    stored = np.where(labels == -1, void, labels).astype(np.uint8 if depth == 8 else np.uint16)
    return tf.io.encode_png(stored[..., np.newaxis], compression=_PNG_COMPRESSION).numpy()


def _decode_map(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the int32 [H, W] label map of a PNG, void read as -1."""

    def decode(dtype: tf.DType) -> tf.Tensor:
        labels = tf.cast(tf.io.decode_png(encoded, channels=1, dtype=dtype)[:, :, 0], tf.int32)
        return tf.where(labels == dtype.max, -tf.ones_like(labels), labels)

    is_deep = tf.equal(tf.strings.substr(encoded, _PNG_DEPTH_BYTE, 1), b"\x10")
    labels = tf.cond(is_deep, lambda: decode(tf.uint16), lambda: decode(tf.uint8))
    return tf.ensure_shape(labels, [None, None])


def _assert_version(header: dict[str, tf.Tensor]) -> tf.Operation:
    return tf.debugging.Assert(
        tf.equal(header[_VERSION], SCHEMA_VERSION),
        [
            "record", header[_NAME], "has schema version", header[_VERSION],
            f"(0: none stated) but this program reads version {SCHEMA_VERSION}: "
            "write the shards anew with this program's converters.",
        ],
    )  # fmt: skip


def _assert_sizes(name: tf.Tensor, image: tf.Tensor, *maps: tf.Tensor) -> list[tf.Operation]:
    size = tf.shape(image)[:2]
    message = (
        "its label map and its picture differ in size: write the shards anew. Map and picture:"
    )
    return [
        tf.debugging.Assert(
            tf.reduce_all(tf.shape(labels) == size),
            ["record", name, message, tf.shape(labels), size],
        )
        for labels in maps
    ]


def _bytes_feature(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int_feature(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def _describe(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
