"""PASCAL VOC's segmentations, those SBD added to its pictures, or both as one set.

VOC codes classes and objects as palette pictures, void 255. SBD has MATLAB files with the objects
(0 background, 1 to K) and the class of each; its class maps say the same and are not read.
"""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from data_pipeline.label_files import read_label_map
from data_pipeline.labelled_picture import LabelledPicture, Source
from data_pipeline.mat_files import label_map, mat_field, read_mat
from data_pipeline.picture_files import read_file, read_for_record, require_size_of_picture

CLASS_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)

_VOC_SPLITS = ("train", "val")
_SETS = os.path.join("ImageSets", "Segmentation")


def list_voc(voc_dir: str | None, sbd_dir: str | None) -> dict[str, list[Source]]:
    """Returns the pictures of train and val.

    With VOC alone: its lists. With SBD alone: its lists, or all its pictures as train where it has
    none. With both: val is VOC's val, train is `augmented_train`; labels are VOC's where it has
    some, since SBD's borders are coarser.

    Args:
      voc_dir: folder of a devkit such as VOCdevkit/VOC2012, or None.
      sbd_dir: SBD's folder `dataset` with img and inst, or None.

    Raises:
      ValueError: neither is given, or a list is missing or names a picture that is none.
    """
    if not voc_dir and not sbd_dir:
        raise ValueError("--input_dir, --sbd_dir or both must be given")
    sbd = _sbd_lists(sbd_dir) if sbd_dir else {}
    if not voc_dir:
        return {split: [_sbd_source(sbd_dir, x) for x in ids] for split, ids in sbd.items()}
    voc = {split: _read_ids(os.path.join(voc_dir, _SETS, f"{split}.txt")) for split in _VOC_SPLITS}
    if not sbd_dir:
        return {split: [_voc_source(voc_dir, x) for x in ids] for split, ids in voc.items()}
    of_voc = {x for ids in voc.values() for x in ids}
    train = augmented_train(voc["train"], voc["val"], [x for ids in sbd.values() for x in ids])
    return {
        "train": [
            _voc_source(voc_dir, x) if x in of_voc else _sbd_source(sbd_dir, x) for x in train
        ],
        "val": [_voc_source(voc_dir, x) for x in voc["val"]],
    }


def augmented_train(voc_train: list[str], voc_val: list[str], sbd: list[str]) -> list[str]:
    """Returns (SBD ∪ VOC train) − VOC val, sorted: 10,582 pictures of VOC 2012 and SBD."""
    return sorted((set(sbd) | set(voc_train)) - set(voc_val))


def read_voc(source: Source) -> LabelledPicture:
    """Returns a picture with its objects and classes.

    Raises:
      ValueError: a file cannot be read, or is not of the picture's size.
    """
    image_path, *label_paths = source.files
    image = read_for_record(image_path)
    if source.details == "sbd":
        maps = _read_sbd(*label_paths)
    else:
        maps = [read_label_map(path) for path in label_paths]
    for path, labels in zip(label_paths, maps, strict=False):
        require_size_of_picture(image_path, image, path, labels.shape)
    return LabelledPicture(image, *maps)


def _read_sbd(path: str) -> list[np.ndarray]:
    """Returns the objects and, from the class of each, the classes."""
    struct = read_mat(path, "GTinst")
    instance = label_map(path, mat_field(path, struct, "Segmentation"))
    classes = np.concatenate([[0], mat_field(path, struct, "Categories").ravel()]).astype(np.int32)
    if instance.min() < 0 or instance.max() >= len(classes):
        raise ValueError(
            f"{path} has objects {instance.min()} to {instance.max()}, but classes of "
            f"{len(classes) - 1}"
        )
    return [instance, classes[instance]]


def _voc_source(folder: str, name: str) -> Source:
    files = (
        os.path.join(folder, "JPEGImages", f"{name}.jpg"),
        os.path.join(folder, "SegmentationObject", f"{name}.png"),
        os.path.join(folder, "SegmentationClass", f"{name}.png"),
    )
    return Source(name, files, "voc")


def _sbd_source(folder: str, name: str) -> Source:
    files = (
        os.path.join(folder, "img", f"{name}.jpg"),
        os.path.join(folder, "inst", f"{name}.mat"),
    )
    return Source(name, files, "sbd")


def _sbd_lists(folder: str) -> dict[str, list[str]]:
    paths = {split: os.path.join(folder, f"{split}.txt") for split in _VOC_SPLITS}
    if all(tf.io.gfile.exists(path) for path in paths.values()):
        return {split: _read_ids(path) for split, path in paths.items()}
    pictures = sorted(tf.io.gfile.glob(os.path.join(folder, "img", "*.jpg")))
    if not pictures:
        raise ValueError(f"{folder} must hold SBD's folders img and inst")
    return {"train": [os.path.splitext(os.path.basename(path))[0] for path in pictures]}


def _read_ids(path: str) -> list[str]:
    ids = read_file(path).decode("utf-8", errors="replace").split()
    outside = [x for x in ids if os.path.basename(x) != x or x in (".", "..")]
    if outside or not ids:
        raise ValueError(f"{path} must have a picture's name a line, got {outside[:1] or 'none'}")
    return ids
