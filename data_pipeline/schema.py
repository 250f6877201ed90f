"""The contract of one record: which tf.train.Example fields it has and how they are coded.

No other file knows a field's name. A record holds the picture, its instance map as a 16-bit PNG
(void 65535) and, where there is one, its semantic map as an 8-bit PNG (void 255). Parsed, void is
-1 in both maps, so 255 and beyond are instances like any other.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from google.protobuf import message as protobuf_message

SCHEMA_VERSION = 1

_IMAGE = "image/encoded"
_HEIGHT = "image/height"
_WIDTH = "image/width"
_NAME = "image/filename"
_FORMAT = "image/format"
_INSTANCE = "instance/encoded"
_NUM_INSTANCES = "instance/count"
_SEMANTIC = "semantic/encoded"
_VERSION = "schema/version"

_INSTANCE_VOID = 65535
_SEMANTIC_VOID = 255
# Pinned, so that equal arrays give equal bytes whatever default the PNG writer has.
_PNG_COMPRESSION = 6
_SIGNATURES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}


def encode_example(
    image: np.ndarray | bytes,
    instance: np.ndarray,
    semantic: np.ndarray | None = None,
    *,
    name: str,
) -> bytes:
    """Returns one serialized tf.train.Example; equal input gives equal bytes.

    Args:
      image: [H, W, 3] uint8, stored as PNG; or the bytes of a JPEG or PNG file, stored untouched.
        Such a file is read as RGB: transparency is dropped and an EXIF rotation is not applied.
      instance: [H, W] integers in [-1, 65534]; 0 background, -1 void.
      semantic: [H, W] integers in [-1, 254]; 0 background, -1 void. None: the record has none.
      name: the picture's name; error messages and results refer to it. Not empty.

    Returns:
      The serialized record.

    Raises:
      ValueError: the name is empty, a shape, type or range is not as above, the sizes differ, or
        the bytes of `image` are no readable JPEG or PNG.
    """
    if not name:
        raise ValueError("a record needs a name that is not empty; pass the picture's file name.")
    encoded, image_format, size = _encode_image(image, name)
    features = {
        _IMAGE: _bytes_feature(encoded),
        _HEIGHT: _int_feature(size[0]),
        _WIDTH: _int_feature(size[1]),
        _NAME: _bytes_feature(name.encode()),
        _FORMAT: _bytes_feature(image_format.encode()),
        _INSTANCE: _bytes_feature(_encode_map(instance, size, _INSTANCE_VOID, f"{name}: instance")),
        _NUM_INSTANCES: _int_feature(len(np.unique(instance[instance > 0]))),
        _VERSION: _int_feature(SCHEMA_VERSION),
    }
    if semantic is not None:
        features[_SEMANTIC] = _bytes_feature(
            _encode_map(semantic, size, _SEMANTIC_VOID, f"{name}: semantic")
        )
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
    instance = _decode_map(fields[_INSTANCE], tf.uint16, _INSTANCE_VOID)
    semantic = tf.cond(
        tf.equal(fields[_SEMANTIC], ""),
        lambda: tf.where(instance > 0, tf.ones_like(instance), instance),
        lambda: _decode_map(fields[_SEMANTIC], tf.uint8, _SEMANTIC_VOID),
    )
    semantic = tf.ensure_shape(semantic, [None, None])
    with tf.control_dependencies(_assert_sizes(header[_NAME], image, instance, semantic)):
        image = tf.identity(image)
    return {"image": image, "instance": instance, "semantic": semantic, "name": header[_NAME]}


def num_instances(serialized: bytes) -> int:
    """Returns how many instances a record holds (distinct ids above 0), without decoding its maps.

    Args:
      serialized: one record written by `encode_example`.

    Returns:
      The count, at least 0.

    Raises:
      ValueError: the bytes are no record of this schema version.
    """
    try:
        feature = tf.train.Example.FromString(serialized).features.feature
    except protobuf_message.DecodeError as error:
        raise ValueError(
            f"expected a serialized tf.train.Example, got {len(serialized)} other bytes."
        ) from error
    if _VERSION not in feature or list(feature[_VERSION].int64_list.value) != [SCHEMA_VERSION]:
        raise ValueError(
            f"expected a record of schema version {SCHEMA_VERSION}, got another or none; "
            "make records with encode_example."
        )
    return feature[_NUM_INSTANCES].int64_list.value[0]


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


def _encode_map(labels: np.ndarray, size: tuple[int, int], void: int, what: str) -> bytes:
    """Returns a label map as PNG, -1 stored as `void`, the largest number of its type."""
    if not isinstance(labels, np.ndarray) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{what} must be an integer array, got {_describe(labels)}.")
    if labels.shape != tuple(size):
        raise ValueError(
            f"{what} must have the picture's size {tuple(size)}, got shape {labels.shape}."
        )
    if labels.min() < -1 or labels.max() >= void:
        raise ValueError(
            f"{what} must lie in [-1, {void - 1}], got [{labels.min()}, {labels.max()}]; "
            "code void as -1 and renumber ids that are too large."
        )
    dtype = np.uint8 if void == _SEMANTIC_VOID else np.uint16
    stored = np.where(labels == -1, void, labels).astype(dtype)
    return tf.io.encode_png(stored[..., np.newaxis], compression=_PNG_COMPRESSION).numpy()


def _decode_map(encoded: tf.Tensor, dtype: tf.DType, void: int) -> tf.Tensor:
    """Returns the int32 [H, W] label map of a PNG, `void` read as -1."""
    labels = tf.cast(tf.io.decode_png(encoded, channels=1, dtype=dtype)[:, :, 0], tf.int32)
    return tf.where(labels == void, -tf.ones_like(labels), labels)


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
