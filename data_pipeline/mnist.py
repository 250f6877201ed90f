"""MNIST: a scan of one handwritten digit a picture, the digit its only instance."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from data_pipeline import digits
from data_pipeline.labelled_picture import LabelledPicture, Source

# Names of the splits by how their files begin.
_PREFIXES = {"train": "train", "test": "t10k"}


def list_mnist(input_dir: str) -> dict[str, list[Source]]:
    """Returns the scans of train and test, in the order of the files.

    Args:
      input_dir: folder of the four idx files, plain or .gz.

    Raises:
      ValueError: a file is missing, of the wrong kind, or cut off.
    """
    splits = {}
    for split, prefix in _PREFIXES.items():
        scans, _ = _load(input_dir, prefix)
        splits[split] = [
            Source(f"{split}_{k:05d}", details=[input_dir, prefix, k]) for k in range(len(scans))
        ]
    return splits


def mnist_digest(input_dir: str) -> str:
    """Returns a digest of all scans and labels: the settings of a conversion tell them apart."""
    return digits.scans_digest(
        *(x for prefix in _PREFIXES.values() for x in _load(input_dir, prefix))
    )


def read_mnist(source: Source) -> LabelledPicture:
    """Returns one scan as a grey picture; the digit is where it is not black, its class digit + 1.

    Raises:
      ValueError: a file is missing, of the wrong kind, or cut off.
    """
    input_dir, prefix, k = source.details
    scans, labels = _load(input_dir, prefix)
    scan = scans[k]
    instance = (scan > 0).astype(np.int32)
    # Grey: a third of the bytes and of the time.
    image = tf.io.encode_png(scan[..., np.newaxis]).numpy()
    return LabelledPicture(image, instance, instance * (int(labels[k]) + 1))


@functools.lru_cache(maxsize=2)
def _load(input_dir: str, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns scans [N, 28, 28] uint8 and digits [N] uint8, once a process."""
    return digits.load_mnist_part(input_dir, prefix)
