"""Folders of pictures and folders of label maps, paired by their names.

A picture `sub/x.jpg` belongs to the label map `sub/x.png`. Where names differ in their ends, as in
`x_leftImg8bit.png` and `x_gtFine_instanceIds.png`, each kind of file has a suffix that is taken
off first; kinds with different suffixes may lie in one folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from data_pipeline import label_files, picture_files
from data_pipeline.class_and_id import split_class_and_id
from data_pipeline.labelled_picture import LabelledPicture, Source

# Examples in a message; a folder may have thousands.
_SHOWN_PATHS = 3


class FileKind(NamedTuple):
    """Where files of one kind lie and how they are called.

    Attributes:
      folder: path; its sub-folders are searched too.
      suffix: what follows the common part of a name, with or without the file's ending.
    """

    folder: str
    suffix: str = ""


def list_pairs(images: FileKind, labels: FileKind, classes: FileKind | None = None) -> list[Source]:
    """Returns the pictures with their label files, sorted by name.

    A file that two kinds claim is of the kind with the longer suffix, or else with the deeper
    folder. Hidden files are left out. Label files without a picture are logged.

    Args:
      images: the pictures, with endings of `picture_files.SUFFIXES`.
      labels: their instance maps, with endings of `label_files.SUFFIXES`.
      classes: their class maps, likewise; None where there are none.

    Returns:
      A source for each stem of a picture's file name. Its files are picture, label and class map;
      a stem of several pictures, or one without exactly one file of each kind, has a problem.

    Raises:
      ValueError: a folder is none or has no pictures, or a picture cannot be told from a label.
    """
    kinds = {"--images": images, "--labels": labels}
    if classes is not None:
        kinds["--classes_dir"] = classes
    pictures, *maps = _find_kinds(kinds)
    if not pictures:
        raise ValueError(
            f"{images.folder} has no picture called *{images.suffix} with an ending of "
            f"{', '.join(picture_files.SUFFIXES)}; check --images and --image_suffix"
        )
    partners = [
        (labels, "label map", maps[0]),
        *((classes, "class map", found) for found in maps[1:]),
    ]
    by_name: dict[str, list[tuple[str, str]]] = {}
    for key, paths in pictures.items():
        for path in paths:
            stem = os.path.splitext(os.path.basename(path))[0]
            by_name.setdefault(stem, []).append((key, path))
    for _, what, files in partners:
        _log_unused(what, [path for key in files.keys() - pictures.keys() for path in files[key]])
    return [_pair(name, by_name[name], partners) for name in sorted(by_name)]


def read_pair(
    source: Source,
    *,
    class_index: Mapping[int, int] | None = None,
    things: Sequence[int] = (),
    is_renumbering: bool = False,
) -> LabelledPicture:
    """Returns a picture and the labels that lie beside it.

    Args:
      source: of `list_pairs`.
      class_index: where the label map codes class and instance in one number, see
        `class_and_id.split_class_and_id`; None where it holds ids of instances.
      things: classes whose instances are told apart, for that coding.
      is_renumbering: whether ids become 1, 2, … in the order of their numbers.

    Raises:
      ValueError: a file cannot be read, or the files differ in size; the message names them.
    """
    picture_path, *map_paths = source.files
    image = picture_files.read_for_record(picture_path)
    maps = [label_files.read_label_map(path) for path in map_paths]
    for path, labels in zip(map_paths, maps, strict=True):
        picture_files.require_size_of_picture(picture_path, image, path, labels.shape)
    if class_index is not None:
        maps = list(split_class_and_id(maps[0], class_index, things))
    if is_renumbering:
        maps[0] = _renumber(maps[0])
    return LabelledPicture(image, *maps)


def read_class_names(path: str) -> list[str]:
    """Returns the names in a text file, one a line, the background first.

    Raises:
      ValueError: the file cannot be read, or a name is empty or there twice.
    """
    # Some editors write a mark of three bytes in front of UTF-8.
    text = picture_files.read_file(path).decode("utf-8-sig", errors="replace")
    names = [line.strip() for line in text.strip().split("\n")]
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"{path} must have a class name a line, each once, got {names}")
    return names


def _find_kinds(kinds: Mapping[str, FileKind]) -> list[dict[str, list[str]]]:
    """Returns for each kind its paths by the common part of their names."""
    claims: dict[str, list[tuple]] = {}
    for position, (flag, kind) in enumerate(kinds.items()):
        endings = label_files.SUFFIXES if position else picture_files.SUFFIXES
        if not tf.io.gfile.isdir(kind.folder):
            raise ValueError(f"{flag} must be a folder, got {kind.folder}")
        folder = kind.folder.rstrip("/")
        for relative in _visible_files(folder):
            key = _common_part(relative, kind.suffix, endings)
            if key is not None:
                claim = ((len(kind.suffix), len(folder)), position, key)
                claims.setdefault(os.path.join(folder, relative), []).append(claim)
    found: list[dict[str, list[str]]] = [{} for _ in kinds]
    for path, claimed in sorted(claims.items()):
        rank, position, key = max(claimed)
        flags = [list(kinds)[p] for r, p, _ in claimed if r == rank]
        if len(flags) > 1:
            raise ValueError(
                f"{path} may be of {' or '.join(flags)}; tell files of one folder apart by "
                "--image_suffix, --label_suffix and --class_suffix, such as .jpg or _inst.png"
            )
        found[position].setdefault(key, []).append(path)
    return found


def _visible_files(folder: str) -> list[str]:
    """Returns the files of a folder and its sub-folders, as paths from there."""
    return [
        relative
        for parent, _, names in tf.io.gfile.walk(folder)
        for relative in (os.path.relpath(os.path.join(parent, name), folder) for name in names)
        if not any(part.startswith(".") for part in relative.split("/"))
    ]


def _common_part(relative: str, suffix: str, endings: Sequence[str]) -> str | None:
    """Returns a path without its suffix and ending, None if it has not got them."""
    stem, ending = os.path.splitext(relative)
    if ending.lower() in endings:
        for whole in (stem, relative):  # A suffix may include the ending.
            if whole.endswith(suffix):
                return whole.removesuffix(suffix)
    return None


def _pair(name: str, pictures: Sequence[tuple[str, str]], partners: Sequence[tuple]) -> Source:
    paths = [path for _, path in pictures]
    if len(paths) > 1:
        problem = (
            f"duplicate id {name!r}: {_listed(paths)} have the same name; rename or remove one"
        )
        return Source(name, tuple(paths), problem=problem)
    key, files = pictures[0][0], paths
    for kind, what, by_key in partners:
        found = by_key.get(key, [])
        if len(found) > 1:
            problem = f"{_listed(found)} are both a {what} of {paths[0]}; keep one"
            return Source(name, (*files, *found), problem=problem)
        if not found:
            wanted = os.path.join(kind.folder, key + kind.suffix)
            if not wanted.lower().endswith(label_files.SUFFIXES):
                wanted += f".* ({' '.join(label_files.SUFFIXES)})"
            problem = f"missing mask: {paths[0]} needs the {what} {wanted}, and there is none"
            return Source(name, tuple(files), problem=problem)
        files = files + found
    return Source(name, tuple(files))


def _log_unused(what: str, paths: list[str]) -> None:
    if paths:
        logging.warning("%d %ss without a picture: %s", len(paths), what, _listed(sorted(paths)))


def _listed(paths: Sequence[str]) -> str:
    more = len(paths) - _SHOWN_PATHS
    return ", ".join(paths[:_SHOWN_PATHS]) + (f" and {more} more" if more > 0 else "")


def _renumber(instance: np.ndarray) -> np.ndarray:
    ids = np.unique(instance[instance > 0])
    return np.where(instance > 0, np.searchsorted(ids, instance) + 1, instance)
