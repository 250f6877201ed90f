"""What an evaluation of objects or classes prints: its protocol in a line, then the figures."""

import math
from typing import Any

from rpe_tf.metrics import average_precision, matching


def describe_protocol(protocol: dict[str, Any]) -> str:
    """Returns one line with every choice the figures depend on.

    Args:
      protocol: of `object_evaluation.state_protocol`.
    """
    words = [f"{protocol['task']} of {protocol['predictions']} ({protocol['read']})"]
    words.append(f"against {protocol['ground_truth']}")
    if protocol["task"] == "semantic":
        words += [
            "void pixels of the truth left out",
            "IoU of a class over all pictures, mean over the classes in truth or prediction",
            "trimap: pixels within w of another true label, void being one",
        ]
    else:
        words.append("void pixels removed from truth and prediction")
        ties = "larger first, then the one that begins earlier"
        words.append(f"ranked by {'score' if protocol['scored'] else 'area'}, ties: {ties}")
    if protocol["task"] == "proposals":
        words += [
            "recall over IoU 0.5:0.05:0.95, pooled over pictures, class-free",
            "each proposal, best first, takes the free object of highest IoU",
        ]
    if protocol["task"] == "instances":
        words += _instance_words(protocol)
    return f"protocol: {'; '.join(words)}"


def _instance_words(protocol: dict[str, Any]) -> list[str]:
    lowest = protocol["min_score"]
    all_count = "all predictions" if lowest is None else f"predictions of score >= {lowest:g}"
    return [
        "per class" if protocol["with_classes"] else "class-free",
        "matching TP/(TP+FP+FN), pooled, at IoU >= 0.5, 0.7, 0.9",
        f"PQ at IoU > 0.5; both of {all_count}",
        "AP^r: area under the interpolated curve, equal scores enter together, a second match is "
        "false; vol is the mean over IoU 0.1:0.1:0.9",
        "predictions mostly in crowd, for PQ in void too, are not false",
    ]


def describe_result(result: dict[str, Any]) -> str:
    """Returns the figures in a few lines; "undefined" for those of nothing."""
    task = result["protocol"]["task"]
    lines = {"proposals": _proposals, "semantic": _semantic, "instances": _instances}[task](result)
    if "coco" in result:
        keys = ("ap", "ap_50", "ap_75", "ar_1", "ar_10", "ar_100")
        lines.append("COCO " + ", ".join(f"{key} {_figure(result['coco'][key])}" for key in keys))
    return "\n".join([f"{result['num_pictures']} pictures{_counts(result)}", *lines])


def _counts(result: dict[str, Any]) -> str:
    found = result.get("num_predicted", result.get("num_proposals"))
    return f", {result['num_true']} true objects, {found} predicted" if found is not None else ""


def _proposals(result: dict[str, Any]) -> list[str]:
    keys = ("ar_10", "ar_60", "ar_100", "ar_50_10", "ar_50_60")
    return [", ".join(f"{key} {_figure(result[key])}" for key in keys)]


def _semantic(result: dict[str, Any]) -> list[str]:
    trimap = zip(result["trimap"]["width_px"], result["trimap"]["miou"], strict=True)
    return [
        f"mIoU {_figure(result['miou'])}, pixel accuracy {_figure(result['pixel_accuracy'])}",
        "class IoU " + ", ".join(f"{c}: {_figure(x)}" for c, x in result["class_iou"].items()),
        "trimap mIoU " + ", ".join(f"{width} px: {_figure(x)}" for width, x in trimap),
    ]


def _instances(result: dict[str, Any]) -> list[str]:
    lines = []
    for threshold in matching.THRESHOLDS:
        key = f"matching_{round(100 * threshold)}"
        parts = ", ".join(
            f"{name} {_figure(result[f'{key}_{name}'])}" for name in ("precision", "recall", "f1")
        )
        lines.append(f"{key} {_figure(result[key])} ({parts})")
    lines.append("PQ {} (SQ {}, RQ {})".format(*(_figure(result[k]) for k in ("pq", "sq", "rq"))))
    keys = [f"ap_r_{round(100 * threshold)}" for threshold in average_precision.REPORTED]
    lines.append(", ".join(f"{key} {_figure(result[key])}" for key in [*keys, "ap_r_vol"]))
    if result["protocol"]["with_classes"]:
        per_class = (
            f"{c}: {_figure(row.get('ap_r_50', math.nan))}" for c, row in result["by_class"].items()
        )
        lines.append("ap_r_50 by class " + ", ".join(per_class))
    return lines


def _figure(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4f}"
