"""Encoded pictures and label maps for the input benchmark, in memory: the disc plays no part."""

import glob
import os
from typing import NamedTuple

import tensorflow as tf
from scipy import io

from data_pipeline.label_files import read_label_map


class Case(NamedTuple):
    """A data set and the crops taken from it."""

    name: str
    crop_size: tuple[int, int]


class Pictures(NamedTuple):
    """Encoded files, one an entry; label maps are PNGs of 8 bits, void 255."""

    images: list[bytes]
    labels: list[bytes]


CASES = (Case("bsds", (321, 481)), Case("coco", (512, 512)))


def load_pictures(case: Case, data_dir: str, count: int) -> Pictures:
    """Returns the first pictures of a case.

    Args:
      case: BSDS: pictures of the training part, labels of the first annotator. COCO: coco128seg.
      data_dir: folder with bsds500 and coco128seg.
      count: at most this many.

    Raises:
      ValueError: there are no such pictures.
    """
    subfolder = {"bsds": "bsds500/images/train", "coco": "coco128seg/images/train2017"}[case.name]
    paths = sorted(glob.glob(os.path.join(data_dir, subfolder, "*.jpg")))[:count]
    if not paths:
        raise ValueError(f"no pictures in {os.path.join(data_dir, subfolder)}; give --data")
    read_labels = {"bsds": _bsds_labels, "coco": _coco_labels}[case.name]
    images = []
    for path in paths:
        with open(path, "rb") as file:
            images.append(file.read())
    return Pictures(images, [read_labels(path) for path in paths])


def _bsds_labels(path: str) -> bytes:
    truth = io.loadmat(path.replace("images", "groundTruth").replace(".jpg", ".mat"))
    return _encode(truth["groundTruth"][0, 0][0, 0]["Segmentation"])


def _coco_labels(path: str) -> bytes:
    folder, name = os.path.split(path)
    labels = os.path.join(folder, "../../inst_png", name.replace(".jpg", ".png"))
    return _encode(read_label_map(labels))


def _encode(labels) -> bytes:
    # As records hold them.
    return tf.io.encode_png(labels.astype("uint8")[..., None], compression=6).numpy()
