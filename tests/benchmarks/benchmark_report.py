"""What comes out of the grouping benchmark: growth with N, a table, a json, a picture."""

import json
import math
import os
from collections.abc import Sequence

from matplotlib.figure import Figure

from tests.benchmarks.grouping_plan import SCENE_SIDES

_GROWTH_ABOVE = 4_096  # below, fixed costs count
_PER_LOOP_CASES = ("forward", "gradient")  # their loops fall to 1 for many points
_PLOTTED_CASES = ("forward", "gradient", "group")
_MARKERS = "osD^vPX*"
_COLUMNS = (
    ("case", "case", "{}"),
    ("form", "form", "{}"),
    ("dim", "D", "{}"),
    ("input", "input", "{}"),
    ("points", "N", "{:,}"),
    ("num_loops", "loops", "{}"),
    ("seconds", "seconds", "{:.4g}"),
    ("repeats", "calls", "{}"),
    ("peak_megabytes", "MB", "{:.0f}"),
    ("product_gflops", "product GFLOP/s", "{:.0f}"),
    ("share", "share", "{:.0%}"),
    ("growth", "growth", "{:.2f}"),
    ("num_groups", "groups", "{}"),
    ("rand_index", "ARI", "{:.4f}"),
    ("rand_index_clear", "ARI clear", "{:.4f}"),
    ("clear_fraction", "clear", "{:.1%}"),
)


def add_growth(rows: Sequence[dict]) -> None:
    """Adds to each row `growth`, the exponent of time in N since the next smaller N.

    For rows that differ in N alone, where the smaller N is at least 4,096; for forward and
    gradient that of the time of a loop.
    """
    smaller: dict[tuple, dict] = {}
    for row in sorted(rows, key=lambda row: row["points"]):
        if row["status"] != "ok" or row["points"] < _GROWTH_ABOVE:
            continue
        key = tuple(row[name] for name in ("case", "form", "dim", "input"))
        if key in smaller:
            last = smaller[key]
            ratio = math.log(_compared_seconds(row) / _compared_seconds(last))
            row["growth"] = ratio / math.log(row["points"] / last["points"])
        smaller[key] = row


def _compared_seconds(row: dict) -> float:
    """Returns the seconds of a loop for forward and gradient, else of the call."""
    is_per_loop = row["case"] in _PER_LOOP_CASES and row["num_loops"] > 0
    return row["seconds"] / (row["num_loops"] if is_per_loop else 1)


def table(rows: Sequence[dict]) -> str:
    """Returns the table, a line a row; a row without figures says why."""
    lines = [[title for _, title, _ in _COLUMNS]]
    for row in rows:
        cells = [
            "" if row.get(key) is None else layout.format(row[key]) for key, _, layout in _COLUMNS
        ]
        lines.append(cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    notes = [""] + [
        "" if row["status"] == "ok" else f"{row['status']}: {row['note']}" for row in rows
    ]
    texts = []
    for line, note in zip(lines, notes, strict=True):
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        texts.append("  ".join([*cells, note]).rstrip())
    return "\n".join(texts)


def write_json(path: str, content: dict) -> None:
    """Writes content to path, whole or not at all."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, allow_nan=False)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def draw(rows: Sequence[dict], path: str) -> None:
    """Draws time and memory against N, a column of panels a case, at the largest D of each."""
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    panels = figure.subplots(2, len(_PLOTTED_CASES), squeeze=False)
    for column, case in enumerate(_PLOTTED_CASES):
        found = [row for row in rows if row["case"] == case and row["status"] == "ok"]
        dim = max((row["dim"] for row in found), default=0)
        found = [row for row in found if row["dim"] == dim]
        for marker, form in zip(
            _MARKERS, dict.fromkeys(row["form"] for row in found), strict=False
        ):
            line = _one_row_a_size([row for row in found if row["form"] == form])
            points = [row["points"] for row in line]
            for panel, values in (
                (panels[0, column], [_compared_seconds(row) for row in line]),
                (panels[1, column], [max(row["peak_megabytes"], 1.0) for row in line]),
            ):
                panel.plot(points, values, marker=marker, label=form)
        unit = "seconds a loop" if case in _PER_LOOP_CASES else "seconds"
        _finish(panels[0, column], f"{case}, D = {dim}", unit)
        _finish(panels[1, column], "", "peak memory above import, MB")
    figure.savefig(path, dpi=120)


def _one_row_a_size(rows: Sequence[dict]) -> list[dict]:
    """Returns rows of rising N, for each N that of the smallest scene, else of random points."""
    by_size: dict[int, dict] = {}
    for row in sorted(rows, key=lambda row: SCENE_SIDES.get(row["input"], math.inf)):
        by_size.setdefault(row["points"], row)
    return [by_size[size] for size in sorted(by_size)]


def _finish(panel, title: str, ylabel: str) -> None:
    panel.set(title=title, xlabel="N, points", ylabel=ylabel)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.grid(alpha=0.3)
    if panel.lines:
        panel.legend(fontsize="small")
