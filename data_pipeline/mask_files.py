"""Pictures with one mask file an instance.

Two ways to lay them out are known: `<id>/images/<id>.png` with `<id>/masks/*.png`, as in the Data
Science Bowl 2018; and `images/<id>.jpg` with `masks/<id>/*.png`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from data_pipeline import label_files, picture_files
from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.mask_painting import paint_masks

_IMAGES, _MASKS = "images", "masks"


def list_mask_files(folder: str) -> list[Source]:
    """Returns the pictures of a folder with their mask files, sorted by name.

    Args:
      folder: in one of the two layouts above.

    Returns:
      A source for each picture, called after its file or, in the first layout, after its folder.
      Its files are the picture and its masks, none of them where its folder of masks is empty. One
      without a picture, with several, or without a folder of masks has a problem.

    Raises:
      ValueError: the folder has neither layout.
    """
    root = folder.rstrip("/")
    if tf.io.gfile.isdir(os.path.join(root, _IMAGES)):
        sources = _list_side_by_side(root)
    else:
        names = _visible(root) if tf.io.gfile.isdir(root) else []
        own = [name for name in names if tf.io.gfile.isdir(os.path.join(root, name, _IMAGES))]
        if own and len(own) < len(names):
            others = [name for name in names if name not in own]
            logging.warning(
                "%d entries without %s: %s", len(others), _IMAGES, ", ".join(others[:3])
            )
        sources = [_list_own_folder(root, name) for name in own]
    if not sources:
        raise ValueError(
            f"{folder} must have pictures as <id>/{_IMAGES}/<id>.png with <id>/{_MASKS}/*.png, or "
            f"{_IMAGES}/<id>.png with {_MASKS}/<id>/*.png; it has neither"
        )
    return sources


def read_mask_files(source: Source) -> LabelledPicture:
    """Returns a picture and the instance map painted from its masks, see `paint_masks`.

    Raises:
      ValueError: a file cannot be read, a mask has another size than the picture, no pixel, or none
        that smaller masks leave uncovered; the message names the file.
    """
    picture_path, *mask_paths = source.files
    picture = picture_files.read_for_record(picture_path)
    size = picture_files.size_of(picture)
    instance = paint_masks(_masks(picture_path, picture, mask_paths), size)
    is_seen = np.bincount(instance.ravel(), minlength=len(mask_paths) + 1) > 0
    for path, seen in zip(mask_paths, is_seen[1:], strict=True):
        if not seen:
            raise ValueError(
                f"{path} is covered by smaller masks of {picture_path} completely, so its instance "
                "has no pixel; remove the file, or the copies of it"
            )
    return LabelledPicture(picture, instance)


def _list_side_by_side(root: str) -> list[Source]:
    by_name: dict[str, list[str]] = {}
    for name in _pictures(os.path.join(root, _IMAGES)):
        by_name.setdefault(os.path.splitext(name)[0], []).append(name)
    unused = set(_visible(os.path.join(root, _MASKS))) - by_name.keys()
    if unused:
        shown = ", ".join(sorted(unused)[:3])
        logging.warning("%d folders of masks without a picture: %s", len(unused), shown)
    return [
        _source(
            name,
            [os.path.join(root, _IMAGES, picture) for picture in pictures],
            os.path.join(root, _MASKS, name),
        )
        for name, pictures in sorted(by_name.items())
    ]


def _list_own_folder(root: str, name: str) -> Source:
    images = os.path.join(root, name, _IMAGES)
    pictures = [os.path.join(images, picture) for picture in _pictures(images)]
    if not pictures:
        return Source(name, (images,), problem=f"{images} has no picture; add it, or remove {name}")
    return _source(name, pictures, os.path.join(root, name, _MASKS))


def _source(name: str, pictures: Sequence[str], masks: str) -> Source:
    if len(pictures) > 1:
        problem = f"duplicate id {name!r}: {' and '.join(pictures)}; keep one"
        return Source(name, tuple(pictures), problem=problem)
    found = _visible(masks) if tf.io.gfile.isdir(masks) else None
    files = [x for x in found or () if x.lower().endswith(label_files.SUFFIXES)]
    if found is None or (found and not files):
        problem = (
            f"missing mask: {pictures[0]} needs the folder {masks} with a file an instance "
            f"({' '.join(label_files.SUFFIXES)}), or an empty one where there is none"
        )
        return Source(name, tuple(pictures), problem=problem)
    return Source(name, (*pictures, *(os.path.join(masks, file) for file in files)))


def _masks(
    picture_path: str, picture: bytes | np.ndarray, mask_paths: Sequence[str]
) -> Iterator[np.ndarray]:
    for path in mask_paths:
        mask = label_files.read_mask(path)
        picture_files.require_size_of_picture(picture_path, picture, path, mask.shape)
        if not mask.any():
            raise ValueError(f"{path} is an empty mask: every pixel is 0; remove the file")
        yield mask


def _pictures(folder: str) -> list[str]:
    return [x for x in _visible(folder) if x.lower().endswith(picture_files.SUFFIXES)]


def _visible(folder: str) -> list[str]:
    """Returns the names in a folder, sorted, without hidden ones; () of no folder."""
    if not tf.io.gfile.isdir(folder):
        return []
    # Of a folder some file systems give the name with a slash.
    names = [name.rstrip("/") for name in tf.io.gfile.listdir(folder)]
    return sorted(name for name in names if name and not name.startswith("."))
