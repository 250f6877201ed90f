"""Readers of pictures and label maps: of the converters, of the scores, and of the exports."""

import functools
import io
import os

import numpy as np
import tensorflow as tf
import tifffile
from PIL import Image

from data_pipeline import picture_files, schema
from data_pipeline.folders import read_pair
from data_pipeline.label_files import read_label_map
from data_pipeline.labelled_picture import Source
from data_pipeline.mask_files import read_mask_files
from data_pipeline.shard_writing import ShardJob, write_shard
from export import picture_limits, raw_picture
from rpe_tf.metrics.boundary_files import read_prediction
from rpe_tf.metrics.label_png import read_label_png
from tests.fuzzing.cases import Kind
from tests.fuzzing.mutations import spoil_bytes, spoil_npy, spoil_png

_SIZE = (14, 11)
_MAX_PIXELS = 10**6


def labels(rng, dtype=np.uint8):
    """A label map of a few ids and void."""
    instance = rng.integers(0, 4, (7, 11)).repeat(2, axis=0).astype(dtype)
    instance[0] = np.iinfo(dtype).max if np.iinfo(dtype).min == 0 else -1
    return instance


def _encoded(array, kind, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def _label_png(rng):
    return _encoded(labels(rng, (np.uint8, np.uint16)[rng.integers(2)]), "PNG")


def _mask_png(rng):
    return _encoded((labels(rng) % 2 * 255).astype(np.uint8), "PNG")


def _label_tiff(rng):
    file = io.BytesIO()
    compression = (None, "zlib", "lzw")[rng.integers(3)]
    dtype = (np.uint8, np.uint16, np.int32)[rng.integers(3)]
    if compression == "lzw":  # tifffile's needs another package.
        return _encoded(labels(rng, dtype), "TIFF", compression="tiff_lzw")
    tifffile.imwrite(file, labels(rng, dtype), compression=compression)
    return file.getvalue()


def _label_npy(rng):
    file = io.BytesIO()
    np.save(file, labels(rng, (np.uint8, np.uint16, np.int32)[rng.integers(3)]))
    return file.getvalue()


def picture(rng):
    """A smooth picture, so that a JPEG of it is small."""
    coarse = rng.integers(0, 256, [4, 4, 3], dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(_SIZE[::-1], Image.Resampling.BILINEAR))


def _picture_file(kind, **options):
    return lambda rng: _encoded(picture(rng), kind, **options)


def _spoil_either(content, rng):
    return (spoil_png if rng.integers(2) else spoil_bytes)(content, rng)


def _label_map(path):
    found = read_label_map(path)
    _require_labels(found)
    return (found,)


def _require_labels(found):
    if found.dtype != np.int32 or found.ndim != 2 or found.min() < -1:
        raise AssertionError(f"no label map: {found.dtype} {found.shape} {found.min()}")


def _converted(read, source):
    """The labels and pixels of a picture as its shard has them, through all of a conversion."""
    path = f"{os.path.dirname(source.files[0])}/shard.tfrecord"
    write_shard(ShardJob(path, (source,), read, (), {}, True))
    record = next(iter(tf.data.TFRecordDataset(path)))
    example = schema.parse_example(record)
    return tuple(example[key].numpy() for key in ("image", "instance"))


def _label_beside(path):
    content = _encoded(np.zeros([*_SIZE, 3], np.uint8), "PNG")
    picture_path = f"{os.path.dirname(path)}/picture.png"
    with open(picture_path, "wb") as file:
        file.write(content)
    return picture_path


def _pair_of_label(path):
    return _converted(read_pair, Source("hostile", (_label_beside(path), path)))


def _pair_of_mask(path):
    return _converted(read_mask_files, Source("hostile", (_label_beside(path), path)))


def _pair_of_picture(path):
    label_path = f"{os.path.dirname(path)}/label.png"
    with open(label_path, "wb") as file:
        file.write(_encoded(labels(np.random.default_rng(0)), "PNG"))
    return _converted(read_pair, Source("hostile", (path, label_path)))


def _two_readers(path):
    """Pixels as the exports' reader and as the converters' give them; they must agree."""
    height, width = raw_picture.picture_size(path, _MAX_PIXELS)
    raw_path = f"{path}.raw"
    limit = Image.MAX_IMAGE_PIXELS
    try:
        raw_picture._decode(path, raw_path)  # By a process of its own, which has no limit.
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    pixels = np.fromfile(raw_path, np.uint8)
    if len(pixels) != height * width * 3:
        raise AssertionError(f"{len(pixels)} bytes of {height} x {width} pixels")
    if not np.array_equal(pixels.reshape(height, width, 3), picture_files.read_picture(path)):
        raise AssertionError("two readers disagree")
    return (pixels.reshape(height, width, 3),)


def _metrics_labels(path):
    return (read_label_png(path),)


def _boundary_prediction(path):
    found = read_prediction(path)
    if found.min() < 0 or found.max() > 1 or found.ndim != 2:
        raise AssertionError(f"not in [0, 1]: {found.min()} to {found.max()}")
    return (found,)


def _served(path):
    """What a server does with a picture: the head, then TensorFlow's decoder."""
    with open(path, "rb") as file:
        inputs = {"image_bytes": np.array([file.read(), b""], object)[:1]}
    picture_limits.check_sizes(inputs, _MAX_PIXELS)
    if where := picture_limits.undecodable_picture(inputs):
        raise ValueError(f"{where} cannot be decoded")
    return (picture_limits.decode_rgb(tf.constant(inputs["image_bytes"][0])).numpy(),)


_SERVED = functools.partial(Kind, read=_served, names=("image_bytes[0]",))

KINDS = (
    Kind("label PNG's bytes", ".png", _label_png, spoil_bytes, _label_map),
    Kind("label PNG's chunks", ".png", _label_png, spoil_png, _label_map, False),
    Kind("label PNG, converted", ".png", _label_png, spoil_bytes, _pair_of_label),
    Kind(
        "mask PNG, converted",
        *(".png", _mask_png, _spoil_either, _pair_of_mask, False),
    ),
    Kind("label TIFF", ".tif", _label_tiff, spoil_bytes, _label_map, False),
    Kind("label NPY", ".npy", _label_npy, spoil_npy, _label_map, False),
    Kind("label NPY's bytes", ".npy", _label_npy, spoil_bytes, _label_map, False),
    Kind("label PNG's bytes, scored", ".png", _label_png, spoil_bytes, _metrics_labels),
    Kind("label PNG's chunks, scored", ".png", _label_png, spoil_png, _metrics_labels, False),
    Kind("boundary PNG, scored", ".png", _label_png, spoil_bytes, _boundary_prediction),
    Kind("PNG, converted", ".png", _picture_file("PNG"), spoil_bytes, _pair_of_picture),
    Kind(
        "PNG's chunks, converted", ".png", _picture_file("PNG"), spoil_png, _pair_of_picture, False
    ),
    Kind("JPEG, converted", ".jpg", _picture_file("JPEG"), spoil_bytes, _pair_of_picture, False),
    Kind("PNG, predicted on", ".png", _picture_file("PNG"), spoil_bytes, _two_readers),
    Kind(
        "PNG's chunks, predicted on", ".png", _picture_file("PNG"), spoil_png, _two_readers, False
    ),
    Kind("JPEG, predicted on", ".jpg", _picture_file("JPEG"), spoil_bytes, _two_readers, False),
    Kind("TIFF, predicted on", ".tif", _picture_file("TIFF"), spoil_bytes, _two_readers, False),
    Kind(
        "compressed TIFF, predicted on",
        *(".tif", _picture_file("TIFF", compression="tiff_deflate"), spoil_bytes),
        *(_two_readers, False),
    ),
    Kind("BMP, predicted on", ".bmp", _picture_file("BMP"), spoil_bytes, _two_readers, False),
    Kind("GIF, predicted on", ".gif", _picture_file("GIF"), spoil_bytes, _two_readers, False),
    Kind("WebP, predicted on", ".webp", _picture_file("WEBP"), spoil_bytes, _two_readers, False),
    _SERVED("PNG, served", ".png", _picture_file("PNG"), spoil_bytes),
    _SERVED("PNG's chunks, served", ".png", _picture_file("PNG"), spoil_png, is_checked=False),
    _SERVED("JPEG, served", ".jpg", _picture_file("JPEG"), spoil_bytes, is_checked=False),
    _SERVED("BMP, served", ".bmp", _picture_file("BMP"), spoil_bytes, is_checked=False),
    _SERVED("GIF, served", ".gif", _picture_file("GIF"), spoil_bytes, is_checked=False),
)
