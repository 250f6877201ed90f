"""Which files belong to a picture, predicted and true, and the objects or classes they hold."""

import os
import re
from typing import NamedTuple

import numpy as np

from rpe_tf.metrics import coco_files
from rpe_tf.metrics.class_votes import vote_classes
from rpe_tf.metrics.label_png import TIFF_ENDS, read_label_map

RECORDS_FILE = "predictions.json"
_RECORDS_PART = re.compile(r"predictions-(\d{5})-of-(\d{5})\.json")
_SEMANTIC, _INSTANCES = "_semantic", "_instances"


class Item(NamedTuple):
    """A picture to score and where its two sides are; a side is PNG files or parts of a json.

    Attributes:
      name: file name without suffix.
      truth: file of instance ids (of classes in the semantic task), or the COCO json.
      truth_classes: file of the true classes, or None.
      picture: of the COCO json, or None.
      predicted: file of ids or classes, or the json of records.
      predicted_classes: file of the predicted classes, or None.
      records: of the json, or None.
    """

    name: str
    truth: str
    truth_classes: str | None
    picture: coco_files.CocoPicture | None
    predicted: str
    predicted_classes: str | None
    records: list[dict] | None


class Objects(NamedTuple):
    """The objects of one side of a picture.

    Attributes:
      objects: [H, W] int64 ids, 0 background, −1 void; or [K, H, W] bool masks of ids 1..K.
      classes: class of the ids, that of id k at k − 1; None where the files have none.
      scores: likewise; None where the files have none.
      crowd: [H, W] bool; None where the files have none.
    """

    objects: np.ndarray
    classes: np.ndarray | None
    scores: np.ndarray | None
    crowd: np.ndarray | None


def list_items(
    predictions: str,
    ground_truth: str,
    task: str,
    *,
    ground_truth_classes: str | None = None,
    names: str | None = None,
) -> list[Item]:
    """Returns the pictures of the ground truth in order of their names, with their predictions.

    Args:
      predictions: a folder of `<name>_instances.png` (`<name>_semantic.png` in the semantic task)
        or else `<name>.png` (.tif in place of .png), with `predictions.json`, or the whole set
        of `predictions-00000-of-00004.json` and so on, in place of the instances where there is
        one; or a json of records.
      ground_truth: a folder of `<name>.png` or .tif, or a COCO json.
      task: proposals, semantic or instances.
      ground_truth_classes: a folder of `<name>.png`, the true classes.
      names: a text file with a name a line: those pictures only.

    Raises:
      ValueError: naming the file or folder that is missing or wrong.
    """
    is_semantic = task == "semantic"
    items = _list_truth(ground_truth, ground_truth_classes, is_semantic)
    chosen = items if names is None else _choose(items, names, ground_truth)
    json_paths = _records_paths(predictions, is_semantic)
    if not json_paths:
        return _with_png(chosen, predictions, ground_truth, is_semantic)
    known = {item.name: item.name for item in items}
    known.update({x.picture.image_id: x.name for x in items if x.picture is not None})
    groups = {}
    for path in json_paths:
        records = coco_files.read_records(path)
        for name, own in coco_files.group_by_picture(path, records, known).items():
            groups.setdefault(name, (path, []))[1].extend(own)
    # A picture in which nothing was found has no record.
    found = [(item, *groups.get(item.name, (json_paths[0], []))) for item in chosen]
    return [item._replace(predicted=path, records=records) for item, path, records in found]


def _list_truth(ground_truth: str, classes: str | None, is_semantic: bool) -> list[Item]:
    """Returns the pictures with their true side alone."""
    if coco_files.is_json(ground_truth):
        if is_semantic or classes is not None:
            raise ValueError(
                f"{ground_truth} is a json, which holds objects with their classes: for class maps "
                "give a folder of PNG files as the ground truth, else no folder of classes"
            )
        pictures = coco_files.read_ground_truth(ground_truth)
        return [
            Item(name, ground_truth, None, pictures[name], "", None, None)
            for name in sorted(pictures)
        ]
    if is_semantic and classes is not None:
        ground_truth, classes = classes, None
    files = _label_files(ground_truth)
    if not files:
        raise ValueError(
            f"{ground_truth} has no .png or .tif files, so there are no pictures to score"
        )
    class_files = {} if classes is None else _label_files(classes)
    missing = [name for name in files if name not in class_files]
    if classes is not None and missing:
        raise ValueError(f"{classes} lacks {missing[0]}.png, the classes of {files[missing[0]]}")
    return [
        Item(name, files[name], class_files.get(name), None, "", None, None)
        for name in sorted(files)
    ]


def _choose(items: list[Item], names: str, ground_truth: str) -> list[Item]:
    with open(names, encoding="utf-8") as file:
        wanted = [line.strip() for line in file if line.strip()]
    if not wanted:
        raise ValueError(f"{names} has no names")
    known = {item.name for item in items}
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ValueError(f"{names} names {missing[0]}, which {ground_truth} lacks")
    return [item for item in items if item.name in set(wanted)]


def _records_paths(predictions: str, is_semantic: bool) -> list[str]:
    """Returns the json files of records to be read, none where PNG files are."""
    if coco_files.is_json(predictions):
        if is_semantic:
            raise ValueError(f"{predictions} must be a folder of class maps in the semantic task")
        return [predictions]
    if is_semantic:
        return []
    path = os.path.join(predictions, RECORDS_FILE)
    if os.path.isfile(path):
        return [path]
    files = os.listdir(predictions) if os.path.isdir(predictions) else []
    matches = [match for file in sorted(files) if (match := _RECORDS_PART.fullmatch(file))]
    for num in sorted({match[2] for match in matches}):
        numbers = {int(match[1]) for match in matches if match[2] == num}
        missing = sorted(set(range(int(num))) - numbers)
        if missing:
            raise ValueError(
                f"{predictions} lacks predictions-{missing[0]:05d}-of-{num}.json ({len(missing)} "
                f"of {int(num)} are missing); let the batch end, or copy its files again"
            )
    return [os.path.join(predictions, match[0]) for match in matches]


def _with_png(
    items: list[Item], predictions: str, ground_truth: str, is_semantic: bool
) -> list[Item]:
    files = _label_files(predictions)
    suffix = _SEMANTIC if is_semantic else _INSTANCES
    found = []
    for item in items:
        path = files.get(item.name + suffix, files.get(item.name))
        if path is None:
            raise ValueError(
                f"{predictions} lacks {item.name}.png (or {item.name}{suffix}.png, or "
                f"{RECORDS_FILE} for objects); every picture of {ground_truth} needs a prediction "
                "of its name"
            )
        classes = None if is_semantic else files.get(item.name + _SEMANTIC)
        found.append(item._replace(predicted=path, predicted_classes=classes))
    return found


def _label_files(folder: str) -> dict[str, str]:
    """Returns the path of each PNG file, else TIFF file, by its name without suffix."""
    if not os.path.isdir(folder):
        raise ValueError(f"{folder} is no folder, and no json file")
    found = {}
    for file in sorted(os.listdir(folder)):
        name, end = os.path.splitext(file)
        if end.lower() == ".png" or (end.lower() in TIFF_ENDS and name not in found):
            found[name] = os.path.join(folder, file)
    return found


def read_truth(item: Item) -> Objects:
    """Returns the true objects of a picture.

    Raises:
      ValueError: naming the file that is wrong.
    """
    if item.picture is None:
        instance = read_label_map(item.truth)
        classes = _vote(instance, item.truth, item.truth_classes)
        present = np.unique(instance[instance > 0])
        if classes is not None and not classes[present - 1].all():
            lacking = present[classes[present - 1] == 0][0]
            raise ValueError(
                f"{item.truth_classes} has no class where {item.truth} has object {lacking}; every "
                "true object needs a class > 0"
            )
        return Objects(instance, classes, None, None)
    annotations, size = item.picture.annotations, item.picture.size
    single = [a for a in annotations if not a.get("iscrowd")]
    crowds = [a for a in annotations if a.get("iscrowd")]
    masks = coco_files.decode_masks(item.truth, single, size)
    crowd = coco_files.decode_masks(item.truth, crowds, size).any(axis=0) if crowds else None
    classes = np.array([a["category_id"] for a in single], np.int64)
    return Objects(masks, classes, None, crowd)


def read_predicted(item: Item, size: tuple[int, int]) -> Objects:
    """Returns the predicted objects of a picture.

    Args:
      item: the picture.
      size: (H, W) of its truth.

    Raises:
      ValueError: naming the file that is wrong or of another size.
    """
    if item.records is None:
        instance = read_label_map(item.predicted)
        require_size(item, instance.shape, size)
        classes = _vote(instance, item.predicted, item.predicted_classes)
        return Objects(instance, classes, None, None)
    masks = coco_files.decode_masks(item.predicted, item.records, size)
    has_classes, has_scores = (
        all(key in record for record in item.records) for key in ("category_id", "score")
    )
    classes = [r["category_id"] for r in item.records] if has_classes else None
    scores = [r["score"] for r in item.records] if has_scores else None
    return Objects(
        masks,
        None if classes is None else np.array(classes, np.int64),
        None if scores is None else np.array(scores, np.float64),
        None,
    )


def require_size(item: Item, predicted: tuple[int, int], true: tuple[int, int]) -> None:
    """Returns nothing.

    Raises:
      ValueError: naming both files, if the sizes (H, W) differ.
    """
    if tuple(predicted) != tuple(true):
        raise ValueError(
            f"{item.predicted} must have the size of {item.truth}, {true[0]}x{true[1]} (HxW), got "
            f"{predicted[0]}x{predicted[1]}; predict at the picture's own size"
        )


def _vote(instance: np.ndarray, path: str, class_path: str | None) -> np.ndarray | None:
    """Returns the most frequent class > 0 of ids 1, 2, …; 0 where an id has none."""
    if class_path is None:
        return None
    semantic = read_label_map(class_path)
    if semantic.shape != instance.shape:
        raise ValueError(
            f"{class_path} must have the size of {path}, {instance.shape}, got {semantic.shape}"
        )
    return vote_classes(instance, semantic)[1:]
