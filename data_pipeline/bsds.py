"""BSDS500: natural pictures, each segmented by several people.

A .mat file holds `groundTruth`, a cell of K structs, one an annotator, with `Segmentation` (ids
from 1, no background) and `Boundaries` (0 or 1, one pixel wide).
"""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.mat_files import label_map, mat_field, read_mat
from data_pipeline.picture_files import read_for_record, require_size_of_picture

SPLITS = ("train", "val", "test")

# The data set's own archive, and its folder with the data.
_FOLDERS = ("", "data", "BSDS500/data", "BSR/BSDS500/data")


def list_bsds(input_dir: str) -> dict[str, list[Source]]:
    """Returns the pictures of train, val and test, each with its annotation file.

    Args:
      input_dir: folder with `images` and `groundTruth`, or one that holds it as the archive does.

    Raises:
      ValueError: there is no such folder, or a split has no pictures.
    """
    candidates = (os.path.join(input_dir, folder) for folder in _FOLDERS)
    found = [x for x in candidates if tf.io.gfile.isdir(os.path.join(x, "groundTruth"))]
    if not found:
        raise ValueError(f"{input_dir} must hold BSDS500's folders images and groundTruth")
    splits = {split: _list_split(found[0], split) for split in SPLITS}
    for split, sources in splits.items():
        if not sources:
            raise ValueError(f"{os.path.join(found[0], 'images', split)} has no .jpg pictures")
    return splits


def read_bsds(source: Source) -> LabelledPicture:
    """Returns a picture and what every annotator drew; its instance map is the first one's.

    Raises:
      ValueError: a file cannot be read, or is not of the picture's size.
    """
    image_path, truth_path = source.files
    image = read_for_record(image_path)
    annotators = [cell for cell in read_mat(truth_path, "groundTruth").flat]
    if not annotators:
        raise ValueError(f"{truth_path} has no annotator")
    maps = {}
    for field in ("Segmentation", "Boundaries"):
        maps[field] = [
            label_map(truth_path, mat_field(truth_path, annotator, field))
            for annotator in annotators
        ]
        for found in maps[field]:
            require_size_of_picture(image_path, image, truth_path, found.shape)
    instance = np.stack(maps["Segmentation"])
    return LabelledPicture(
        image=image,
        instance=instance[0],
        annotator_instance=instance,
        annotator_boundary=np.stack(maps["Boundaries"]) > 0,
    )


def _list_split(folder: str, split: str) -> list[Source]:
    sources = []
    for path in sorted(tf.io.gfile.glob(os.path.join(folder, "images", split, "*.jpg"))):
        name = os.path.splitext(os.path.basename(path))[0]
        truth = os.path.join(folder, "groundTruth", split, f"{name}.mat")
        sources.append(Source(name, (path, truth)))
    return sources
