"""Handwritten digits painted over one another: scenes whose instances overlap and look alike.

Each scene is black with digits at some of its anchors, painted in random order, so that neighbours
cover each other. Every class has one fixed colour: colour tells a 3 from a 7, never one 7 from
another.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image

from data_pipeline.picture_files import read_file

SCAN_SIZE = 28
# [digit, RGB] in [0, 1], read off the authors' published scenes.
CLASS_COLOURS = np.array(
    [
        [0.31, 0.22, 1.0], [0.5, 1.0, 0.21], [0.5, 0.9, 1.0], [0.95, 1.0, 0.35], [1.0, 0.14, 0.12],
        [0.6, 0.35, 1.0], [0.92, 1.0, 0.81], [0.72, 1.0, 0.6], [0.48, 1.0, 0.49], [0.69, 1.0, 0.7],
    ],
    np.float32,
)  # fmt: skip
CLASS_NAMES = ("background",) + tuple(f"digit_{digit}" for digit in range(10))

_ANCHOR_STEP_PX = 17.5  # of the anchors 1, 18, 36 in a scene of 64
_JITTER_PX = 2
_FRAMED_SIZE = 20
_ANCHORS_OF_64 = 9
_IMAGES_MAGIC = 2051
_LABELS_MAGIC = 2049


def load_scans(
    source: str, mnist_dir: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns all scans of a source, their digits and which of them are kept for testing.

    Args:
      source: "sklearn" (scikit-learn's 8x8 scans, enlarged to 20x20 in a frame of 28x28 as MNIST
        has them; the last fifth is for testing; who wrote which scan is not recorded, so a writer
        may occur on both sides) or "mnist" (the data set's own split).
      mnist_dir: folder of the four MNIST idx files, plain or .gz; read for "mnist" only.

    Returns:
      scans [N, 28, 28] float32 in [0, 1]; digits [N] int32 in 0..9; is_test [N] bool.

    Raises:
      ValueError: the source is unknown, or a file is missing, of the wrong kind, or cut off.
    """
    if source == "sklearn":
        return _load_sklearn()
    if source != "mnist":
        raise ValueError(f"source must be 'sklearn' or 'mnist', got {source!r}.")
    if not mnist_dir:
        raise ValueError("source 'mnist' needs mnist_dir, the folder of the four MNIST idx files.")
    parts = [load_mnist_part(mnist_dir, prefix) for prefix in ("train", "t10k")]
    is_test = np.repeat([False, True], [len(parts[0][1]), len(parts[1][1])])
    return (
        np.concatenate([parts[0][0], parts[1][0]]).astype(np.float32) / 255,
        np.concatenate([parts[0][1], parts[1][1]]).astype(np.int32),
        is_test,
    )


def load_mnist_part(mnist_dir: str, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scans and digits of one half of MNIST.

    Args:
      mnist_dir: folder of the idx files, plain or .gz.
      prefix: "train" or "t10k".

    Returns:
      scans [N, 28, 28] uint8; digits [N] uint8 in 0..9.

    Raises:
      ValueError: a file is missing, of the wrong kind, or cut off.
    """
    images_path = os.path.join(mnist_dir, f"{prefix}-images-idx3-ubyte")
    labels_path = os.path.join(mnist_dir, f"{prefix}-labels-idx1-ubyte")
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.shape[1:] != (SCAN_SIZE, SCAN_SIZE):
        raise ValueError(
            f"{images_path}: must hold images [N, {SCAN_SIZE}, {SCAN_SIZE}], got {images.shape}."
        )
    if labels.shape != images.shape[:1] or labels.max(initial=0) > 9:
        raise ValueError(
            f"{labels_path}: must hold one digit 0..9 for each of {len(images)} images, "
            f"got shape {labels.shape}, largest {labels.max(initial=0)}."
        )
    return images, labels


def scans_digest(*arrays: np.ndarray) -> str:
    """Returns a digest of scans and their labels, which tells shards of other ones apart."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def read_idx(path: str) -> np.ndarray:
    """Returns the array of one MNIST idx file, plain or gzip-compressed.

    Args:
      path: the file without ".gz"; if it is not there, the same name with ".gz" is read.

    Returns:
      uint8 [N, H, W] of an image file, uint8 [N] of a label file.

    Raises:
      ValueError: neither file exists, it is no idx file of images or labels, or its length is not
        the one its header states.
    """
    names = (path, path + ".gz")
    # As os.path.isfile, but wherever TensorFlow can read.
    files = (x for x in names if tf.io.gfile.exists(x) and not tf.io.gfile.isdir(x))
    found = next(files, None)
    if found is None:
        raise ValueError(
            f"{path}[.gz]: no such file; put the four MNIST idx files into one folder and name it."
        )
    content = read_file(found)
    try:
        content = gzip.decompress(content) if found.endswith(".gz") else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{found}: damaged or cut-off gzip file ({error}); fetch it again."
        ) from error
    magic = int.from_bytes(content[:4], "big")
    if magic not in (_IMAGES_MAGIC, _LABELS_MAGIC):
        raise ValueError(
            f"{found}: must start with the number {_IMAGES_MAGIC} (images) or "
            f"{_LABELS_MAGIC} (labels), got {magic}; this is no MNIST idx file."
        )
    num_axes = 3 if magic == _IMAGES_MAGIC else 1
    header_bytes = 4 + 4 * num_axes
    shape = (
        struct.unpack_from(f">{num_axes}i", content, 4) if len(content) >= header_bytes else (0,)
    )
    expected = header_bytes + int(np.prod(shape))
    if len(content) != expected:
        raise ValueError(
            f"{found}: must hold {expected} bytes, got {len(content)}; fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)


def anchors(scene_size: int) -> np.ndarray:
    """Returns where the top-left corners of digits go on each axis: {1, 18, 36} in a scene of 64.

    Args:
      scene_size: side of the square scene in pixels, at least 64.

    Returns:
      [A] int pixel positions, about 17.5 apart whatever the scene size.

    Raises:
      ValueError: the scene is smaller than 64.
    """
    if scene_size < 64:
        raise ValueError(f"scene_size must be at least 64 pixels, got {scene_size}.")
    last = scene_size - SCAN_SIZE
    num_anchors = int((last - 1) / _ANCHOR_STEP_PX + 0.5) + 1
    return np.linspace(1, last, num_anchors).astype(int)


def compose_scene(
    rng: np.random.Generator,
    scans: np.ndarray,
    digits: np.ndarray,
    *,
    scene_size: int = 64,
    same_class: bool = False,
    min_digits: int = 1,
    max_digits: int = 9,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns one scene: its picture, its instance map and its semantic map.

    The number of digits is uniform; each takes an anchor of its own, shifted by up to 2 pixels but
    never beyond the picture. A digit owns the pixels where its scan is above 0, until a later one
    covers them.

    Args:
      rng: source of all randomness.
      scans: [N, 28, 28] float in [0, 1].
      digits: [N] int in 0..9, the class of each scan.
      scene_size: side in pixels, at least 64.
      same_class: whether all digits of the scene are of one class, hence of one colour.
      min_digits: fewest digits painted, at least 1.
      max_digits: most digits painted per nine anchors, in [1, 9]; scaled to the scene's number of
        anchors.

    Returns:
      image [S, S, 3] uint8; instance [S, S] int32, ids 1..K in painting order, digits that are
      covered completely have none; semantic [S, S] int32, digit + 1. Background is 0 in all three.

    Raises:
      ValueError: there are no scans, or a number is out of its range.
    """
    if len(scans) == 0 or len(scans) != len(digits):
        raise ValueError(
            f"scans and digits must be equally many, not none, got {len(scans)} and {len(digits)}."
        )
    low, high = digit_range(scene_size, min_digits, max_digits)
    corners = anchors(scene_size)
    num_digits = int(rng.integers(low, high + 1))
    places = rng.permutation(len(corners) ** 2)[:num_digits]
    jitter = rng.integers(-_JITTER_PX, _JITTER_PX + 1, (num_digits, 2))
    tops_lefts = (
        np.stack([corners[places // len(corners)], corners[places % len(corners)]], axis=1) + jitter
    )
    tops_lefts = np.clip(tops_lefts, 0, scene_size - SCAN_SIZE)
    candidates = np.arange(len(scans))
    if same_class:
        candidates = np.flatnonzero(digits == rng.choice(np.unique(digits)))
    chosen = candidates[rng.integers(len(candidates), size=num_digits)]

    intensity = np.zeros((scene_size, scene_size), np.float32)
    instance = np.zeros((scene_size, scene_size), np.int32)
    for order, (scan_index, (top, left)) in enumerate(
        zip(chosen, tops_lefts, strict=True), start=1
    ):
        window = np.s_[top : top + SCAN_SIZE, left : left + SCAN_SIZE]
        owned = scans[scan_index] > 0
        intensity[window][owned] = scans[scan_index][owned]
        instance[window][owned] = order
    return _finish_scene(intensity, instance, digits[chosen])


def digit_range(scene_size: int, min_digits: int, max_digits: int) -> tuple[int, int]:
    """Returns the fewest and the most digits painted into a scene.

    Args:
      scene_size: side in pixels, at least 64.
      min_digits: fewest digits, at least 1.
      max_digits: most digits per nine anchors, in [1, 9].

    Returns:
      (fewest, most); with `max_digits` 9 the most is the scene's number of anchors.

    Raises:
      ValueError: a number is out of its range, or the fewest exceeds the most.
    """
    if not 1 <= max_digits <= _ANCHORS_OF_64:
        raise ValueError(f"max_digits must lie in [1, {_ANCHORS_OF_64}], got {max_digits}.")
    most = round(max_digits * len(anchors(scene_size)) ** 2 / _ANCHORS_OF_64)
    if not 1 <= min_digits <= most:
        raise ValueError(
            f"min_digits must lie in [1, {most}] for scene_size {scene_size}, got {min_digits}."
        )
    return min_digits, most


def _finish_scene(
    intensity: np.ndarray, instance: np.ndarray, painted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns picture and maps; `painted` [P] is the class of each digit in painting order."""
    # Row 0 is the background: black, class 0.
    semantic = np.concatenate([[0], painted + 1]).astype(np.int32)[instance]
    colours = np.concatenate([np.zeros((1, 3), np.float32), CLASS_COLOURS])[semantic]
    image = np.rint(255 * intensity[..., np.newaxis] * colours).astype(np.uint8)
    visible = np.unique(instance[instance > 0])
    new_ids = np.zeros(len(painted) + 1, np.int32)
    new_ids[visible] = np.arange(1, len(visible) + 1)
    return image, new_ids[instance], semantic


def _load_sklearn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from sklearn import datasets  # Slow to import, and needed for this source only.

    source = datasets.load_digits()
    scans = np.stack([_enlarge(scan) for scan in source.images.astype(np.float32) / 16])
    is_test = np.arange(len(scans)) >= len(scans) - len(scans) // 5
    return scans, source.target.astype(np.int32), is_test


def _enlarge(scan: np.ndarray) -> np.ndarray:
    # As MNIST frames its digits: 20 pixels in the middle of 28.
    size = (_FRAMED_SIZE, _FRAMED_SIZE)
    enlarged = np.clip(
        np.asarray(Image.fromarray(scan).resize(size, Image.Resampling.BICUBIC)), 0, 1
    )
    # Interpolation leaves a faint halo; cut, or a digit would own pixels that look black.
    crisp = np.where(enlarged < 0.25, np.float32(0), enlarged)
    return np.pad(crisp, (SCAN_SIZE - _FRAMED_SIZE) // 2)
