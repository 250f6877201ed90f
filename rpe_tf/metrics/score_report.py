"""Scores as parts of a page: figures, their protocol, and curves where there are some."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from rpe_tf import html_page
from rpe_tf.metrics import boundary_plot, object_report


def write_beside(json_path: str, pictures_dir: str | None = None) -> str:
    """Returns the path of a page of one evaluation, beside its json, temporarily named first.

    Args:
      json_path: what `evaluate_main` wrote.
      pictures_dir: folder with the sheets best.png and worst.png; None, or where a sheet is
        missing: without.
    """
    with open(json_path, encoding="utf-8") as file:
        sections = score_sections(json.load(file))
    for name in ("best", "worst") if pictures_dir else ():
        sheet = os.path.join(pictures_dir, f"{name}.png")
        if os.path.exists(sheet):
            with Image.open(sheet) as picture:
                words = f"The {name} pictures"
                sections[words] = html_page.picture(picture.convert("RGB"), words)
    stem = os.path.splitext(json_path)[0]
    path, partial = f"{stem}.html", f"{stem}.html.{os.getpid()}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        file.write(html_page.page(f"Scores: {os.path.basename(stem)}", sections))
    os.replace(partial, path)
    return path


def score_sections(result: Mapping[str, Any]) -> dict[str, str]:
    """Returns heading → HTML of a result: figures with their protocol, curves, classes, pictures.

    Args:
      result: what `evaluate_main` writes as json, where None stands for nan.
    """
    figures = _rows(result)
    for name in ("human", "coco"):
        figures += [(f"{name}: {k}", x) for k, x in _rows(result.get(name) or {})]
    protocol = html_page.words(_protocol(result.get("protocol") or {}), is_small=True)
    sections = {"Scores": protocol + html_page.table(figures)}
    if curves := _curves(result):
        sections["Curves of the scores"] = html_page.row(curves, is_plots=True)
    if classes := _classes(result):
        sections["Scores by class"] = classes
    if pictures := _pictures(result):
        sections["Scores by picture"] = pictures
    return sections


def _protocol(protocol: Mapping[str, Any]) -> str:
    if "task" in protocol:
        return object_report.describe_protocol(dict(protocol))
    chosen = "; ".join(f"{name.replace('_', ' ')}: {x}" for name, x in protocol.items())
    return f"protocol: {chosen or 'not stated'}"


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Returns what is a figure of its own; the rest are tables and curves."""
    return [(k, x) for k, x in figures.items() if x is None or isinstance(x, int | float | str)]


def _curves(result: Mapping[str, Any]) -> list[str]:
    found = []
    if "thresholds" in result:
        words = "Precision against recall, over lines of equal F"
        found.append(html_page.plot(boundary_plot.draw(result), words))
    if "curve" in result:
        curve = result["curve"]
        lines = {"mean over IoU 0.5:0.05:0.95": curve["ar"], "at IoU 0.5": curve["ar_50"]}
        drawn = _lines(curve["proposals"], lines, "proposals a picture", "recall")
        words = "Average recall against the number of proposals"
        found.append(html_page.plot(drawn, words))
    if "trimap" in result:
        trimap = result["trimap"]
        drawn = _lines(
            trimap["width_px"], {"": trimap["miou"]}, "half width of the band, pixels", "mIoU"
        )
        found.append(html_page.plot(drawn, "mIoU in a band round true class boundaries"))
    return found


def _lines(places: Sequence[float], lines: Mapping[str, Sequence], across: str, up: str) -> Figure:
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for (name, values), style in zip(lines.items(), html_page.STYLES, strict=False):
        values = np.array(values, float)  # None becomes nan
        axes.plot(places, values, marker="o", markersize=4, label=name, **style)
    axes.set(xlabel=across, ylabel=up, ylim=(0, 1))
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend()
    return figure


def _classes(result: Mapping[str, Any]) -> str:
    if "class_iou" in result:
        rows = sorted(((int(c), x) for c, x in result["class_iou"].items()))
        return html_page.table(rows, ("class", "IoU"))
    by_class = result.get("by_class") or {}
    names = list(dict.fromkeys(name for row in by_class.values() for name in row))
    rows = [(int(c), *(row.get(name) for name in names)) for c, row in by_class.items()]
    return html_page.table(rows, ("class", *names)) if rows else ""


def _pictures(result: Mapping[str, Any]) -> str:
    pictures = [dict(_rows(row)) for row in result.get("pictures", result.get("images", []))]
    names = list(dict.fromkeys(name for row in pictures for name in row))
    rows = [tuple(row.get(name) for name in names) for row in pictures]
    if not rows:
        return ""
    drawn = html_page.table(rows, names)
    return f"<details><summary>{len(rows)} pictures</summary>\n{drawn}</details>\n"
