"""Scores predictions in files, from whatever model, against ground truth.

Examples:
  python -m rpe_tf.metrics.evaluate_main --task=boundary --predictions=maps \
    --ground_truth=BSDS500/data/groundTruth/test --json=scores.json
  python -m rpe_tf.metrics.evaluate_main --task=instances --predictions=out \
    --ground_truth=VOC2012/SegmentationObject --ground_truth_classes=VOC2012/SegmentationClass \
    --names=VOC2012/ImageSets/Segmentation/val.txt --json=scores.json
"""

import json
import math
import os
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags

from rpe_tf.metrics import (
    boundary_evaluation,
    boundary_files,
    boundary_pr,
    object_evaluation,
    object_files,
    object_report,
)

_TASK = flags.DEFINE_enum(
    "task", "boundary", ["boundary", *object_evaluation.TASKS], "What is predicted."
)
_PREDICTIONS = flags.DEFINE_string(
    "predictions",
    None,
    "Folder of <name>.png at the picture's size. Of boundary: grey, 8 or 16 bits, boundaries "
    "bright on black. Of proposals and instances: instance ids, <name>_instances.png too; or "
    "predictions.json in that folder, or all predictions-*-of-*.json of a batch, or any .json, a "
    "list of COCO results (file_name or image_id, segmentation, score, category_id). Of semantic: "
    "classes, <name>_semantic.png too.",
)
_GROUND_TRUTH = flags.DEFINE_string(
    "ground_truth",
    None,
    "Of boundary: folder of <name>.mat as in BSDS500 or SBD, or of <name>.png where non-zero is "
    "boundary. Of the others: folder of <name>.png, instance ids (of semantic: classes), void 255 "
    "in files of 8 bits, 65535 of 16; or, but for semantic, a COCO .json.",
)
_JSON = flags.DEFINE_string("json", None, "File for the figures and all counts.")
_GROUND_TRUTH_CLASSES = flags.DEFINE_string(
    "ground_truth_classes",
    None,
    "Folder of <name>.png, the true classes of the instances (VOC's SegmentationClass).",
)
_CLASS_FREE = flags.DEFINE_bool("class_free", False, "Leave classes aside where there are some.")
_NAMES = flags.DEFINE_string(
    "names", None, "Text file with a picture's name a line: score those only. Default: all."
)
_MIN_SCORE = flags.DEFINE_float(
    "min_score", None, "Predictions of a lower score do not count in matching scores and PQ."
)
_COCO = flags.DEFINE_bool(
    "coco", False, "COCO's own AP and AR too; needs json files on both sides."
)
_PICTURES = flags.DEFINE_string(
    "pictures", None, "Folder for best.png and worst.png, sheets of such pictures. Default: none."
)
_NUM_PICTURES = flags.DEFINE_integer("num_pictures", 8, "Pictures a sheet.", lower_bound=1)
_PLOT = flags.DEFINE_string(
    "plot",
    None,
    "Of boundary: file for the precision-recall picture, .png or .svg. Default: beside --json.",
)
_THRESHOLDS = flags.DEFINE_integer(
    "thresholds", boundary_pr.NUM_THRESHOLDS, "N; they are k / (N + 1).", lower_bound=1
)
_MAX_DIST = flags.DEFINE_float(
    "max_dist",
    boundary_pr.MAX_DIST,
    "Largest distance of a predicted from its true pixel, as a fraction of the picture's diagonal. "
    "BSDS500 takes 0.0075, SBD 0.02.",
    lower_bound=0,
    upper_bound=1,
)
_NMS = flags.DEFINE_bool(
    "nms", False, "Suppress non-maxima first; for maps whose boundaries are thick ridges."
)
_THIN = flags.DEFINE_bool("thin", True, "Thin the map at each threshold, as the benchmarks do.")
_INVERTED = flags.DEFINE_bool("inverted", False, "Predictions are dark on white.")
_CATEGORY = flags.DEFINE_integer("category", None, "Category of SBD's ground truth, 1..20.", 1)
_HUMANS = flags.DEFINE_bool("humans", True, "Score annotators against each other too.")
_PROCESSES = flags.DEFINE_integer(
    "processes",
    None,
    "Processes at work. Default: the cores this one may use; one but for many pictures, where the "
    "task is not boundary.",
    lower_bound=1,
)

_PLOT_SUFFIXES = (".png", ".svg")
# Below so many pictures a second process takes longer to start than it saves.
_PER_PROCESS = 200
_OBJECTS = ("proposals", "instances")
# The tasks that a flag is for, where not for all.
_TASKS_OF = {
    **dict.fromkeys(("plot", "thresholds", "max_dist", "nms", "thin"), ("boundary",)),
    **dict.fromkeys(("inverted", "category", "humans"), ("boundary",)),
    "names": object_evaluation.TASKS,
    **dict.fromkeys(("coco", "class_free"), _OBJECTS),
    "ground_truth_classes": ("semantic", "instances"),
    "min_score": ("instances",),
}


def main(argv: list[str]) -> None:
    """Scores the predictions; raises ValueError naming the file that is wrong."""
    del argv
    for name, tasks in _TASKS_OF.items():
        if flags.FLAGS[name].present and _TASK.value not in tasks:
            raise ValueError(
                f"--{name} is for --task={' or '.join(tasks)}, got --task={_TASK.value}"
            )
    if _TASK.value == "boundary":
        _evaluate_boundary()
    else:
        _evaluate_objects()
    from rpe_tf.metrics import score_report  # Matplotlib takes seconds to load.

    print(f"wrote {score_report.write_beside(_JSON.value, _PICTURES.value)}")


def _evaluate_objects() -> None:
    for folder in (os.path.dirname(_JSON.value), _PICTURES.value):
        os.makedirs(folder or ".", exist_ok=True)  # Fails before the work.
    items = object_files.list_items(
        *(_PREDICTIONS.value, _GROUND_TRUTH.value, _TASK.value),
        ground_truth_classes=_GROUND_TRUTH_CLASSES.value,
        names=_NAMES.value,
    )
    protocol = object_evaluation.Protocol(_TASK.value, _MIN_SCORE.value, _CLASS_FREE.value)
    stated = object_evaluation.state_protocol(items, protocol)
    print(object_report.describe_protocol(stated))
    coco = {}
    if _COCO.value:
        from rpe_tf.metrics import coco_ap  # Its library is slow to load.

        is_class_free = _CLASS_FREE.value or _TASK.value == "proposals"
        coco = {"coco": coco_ap.coco_scores(items, is_class_free)}
    num_processes = _PROCESSES.value or min(_num_cores(), 1 + len(items) // _PER_PROCESS)
    result = {**object_evaluation.evaluate_items(items, protocol, num_processes), **coco}
    print(object_report.describe_result(result))
    if _PICTURES.value:
        from rpe_tf.metrics import object_pictures

        _write_sheets(object_pictures.best_and_worst(items, result, _NUM_PICTURES.value))
    _write_whole(_JSON.value, lambda path: _write_json(path, _without_nan(result)))
    print(f"wrote {_JSON.value}")


def _evaluate_boundary() -> None:
    from rpe_tf.metrics import boundary_plot  # Matplotlib takes seconds to load.

    plot = _PLOT.value or os.path.splitext(_JSON.value)[0] + ".png"
    for folder in (os.path.dirname(_JSON.value), os.path.dirname(plot), _PICTURES.value):
        os.makedirs(folder or ".", exist_ok=True)  # Fails before the work.
    protocol = boundary_evaluation.Protocol(
        num_thresholds=_THRESHOLDS.value,
        max_dist=_MAX_DIST.value,
        is_thinned=_THIN.value,
        is_suppressed=_NMS.value,
        is_inverted=_INVERTED.value,
        category=_CATEGORY.value,
    )
    print(describe_protocol(protocol))
    result = boundary_evaluation.evaluate_folder(
        *(_PREDICTIONS.value, _GROUND_TRUTH.value, protocol),
        num_processes=_PROCESSES.value or _num_cores(),
        with_humans=_HUMANS.value,
    )
    print(describe_result(result))
    _write_whole(_JSON.value, lambda path: _write_json(path, result))
    figure = boundary_plot.draw(result)
    suffix = os.path.splitext(plot)[1][1:]
    _write_whole(plot, lambda path: figure.savefig(path, format=suffix, dpi=150))
    print(f"wrote {_JSON.value} and {plot}")
    if _PICTURES.value:
        from rpe_tf.metrics import boundary_pictures

        items = boundary_files.list_items(_PREDICTIONS.value, _GROUND_TRUTH.value)
        _write_sheets(boundary_pictures.best_and_worst(items, result, _NUM_PICTURES.value))


def _write_sheets(sheets: dict) -> None:
    for name, sheet in sheets.items():
        path = os.path.join(_PICTURES.value, f"{name}.png")
        _write_whole(path, lambda partial, s=sheet: s.save(partial, format="PNG"))
        print(f"wrote {path}")


def describe_protocol(protocol: boundary_evaluation.Protocol) -> str:
    """Returns one line with every choice the figures depend on."""
    last = protocol.num_thresholds / (protocol.num_thresholds + 1)
    words = [
        f"{protocol.num_thresholds} thresholds 1/{protocol.num_thresholds + 1}..{last:.4g}, >=",
        f"non-maximum suppression {'on' if protocol.is_suppressed else 'off'}",
        f"thinning {'on' if protocol.is_thinned else 'off'}",
        f"tolerance {protocol.max_dist:g} of the diagonal",
        "boundaries dark on white" if protocol.is_inverted else "boundaries bright on black",
    ]
    if protocol.category is not None:
        words.append(f"category {protocol.category}, far inside it predictions are ignored")
    return f"protocol: {'; '.join(words)}"


def describe_result(result: dict) -> str:
    """Returns the figures in a few lines, and a warning where OIS is below ODS."""
    lines = [
        f"{result['num_images']} pictures, {result['num_annotators']} annotations",
        "ODS {ods:.4f} (threshold {ods_threshold:.3g}, precision {ods_precision:.4f}, "
        "recall {ods_recall:.4f})".format(**result),
        "OIS {ois:.4f} (precision {ois_precision:.4f}, recall {ois_recall:.4f})".format(**result),
        f"AP  {result['ap']:.4f}",
    ]
    if result["human"]:
        human = (
            "people among themselves: F {f:.4f} (precision {precision:.4f}, recall {recall:.4f})"
        )
        lines.append(human.format(**result["human"]))
    if result["ois"] < result["ods"]:
        lines.append(
            "warning: OIS is below ODS. That is rare but possible: OIS adds up pictures, each at "
            "its own best threshold, ODS looks between thresholds too; see the pictures in the json"
        )
    return "\n".join(lines)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # On Linux alone.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _write_whole(path: str, write: Callable[[str], None]) -> None:
    """Writes under a temporary name, then renames: a file of this name is always whole."""
    partial = f"{path}.{os.getpid()}.partial"
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _write_json(path: str, result: dict) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file)
        file.write("\n")


def _without_nan(value: Any) -> Any:
    """Returns a value with null in place of nan, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(x) for key, x in value.items()}
    if isinstance(value, list):
        return [_without_nan(x) for x in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _main_in_one_line(argv: list[str]) -> int:
    try:
        main(argv)
    except (ValueError, OSError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130  # 128 + SIGINT, as shells report it.
    return 0


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["predictions", "ground_truth", "json"])
    flags.register_validator(
        "plot",
        lambda path: not path or path.endswith(_PLOT_SUFFIXES),
        f"--plot must end in {' or '.join(_PLOT_SUFFIXES)}",
    )
    app.run(_main_in_one_line)


if __name__ == "__main__":
    run()
