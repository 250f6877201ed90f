"""What comes out of the input benchmark: ratios against their bars, and a table."""

from collections.abc import Sequence
from typing import NamedTuple

PACKAGES = ("tensorflow", "albumentations", "opencv-python-headless", "numpy")


class Bar(NamedTuple):
    """A ratio of rates and what it must be."""

    name: str
    other: str  # the form, or the beginning of forms of which the fastest counts
    is_ours_over_other: bool
    limit: float  # at least, if ours is divided by the other; else at most


BARS = (
    Bar("ours / step by step", "step by step", True, 1.5),
    Bar("albumentations / ours", "albumentations", False, 2.0),
    Bar("bare JPEG / ours", "bare JPEG", False, 2.5),
)


def ratios(rows: Sequence[dict]) -> list[dict]:
    """Returns, by case, the ratios of rates that there are forms for."""
    found = []
    for case in dict.fromkeys(row["case"] for row in rows):
        rates = {row["form"]: row["images_per_second"] for row in rows if row["case"] == case}
        for bar in BARS:
            others = [rate for form, rate in rates.items() if form.startswith(bar.other)]
            if not others:
                continue
            ratio = rates["ours"] / max(others)
            value = ratio if bar.is_ours_over_other else 1 / ratio
            is_met = value >= bar.limit if bar.is_ours_over_other else value <= bar.limit
            found.append(
                {
                    "case": case,
                    "ratio": bar.name,
                    "value": value,
                    "bar": f"{'at least' if bar.is_ours_over_other else 'at most'} {bar.limit:g}",
                    "is_met": is_met,
                }
            )
    return found


def table(rows: Sequence[dict], ratio_rows: Sequence[dict]) -> str:
    """Returns both tables, a line a row."""
    rates = [["case", "crop", "form", "images/s", "core ms", "cores for 100/s"]]
    for row in rows:
        core_ms = "" if row["core_ms"] is None else f"{row['core_ms']:.2f}"
        rate, cores = row["images_per_second"], row["cores_for_100_per_second"]
        rates.append(
            [row["case"], row["crop"], row["form"], f"{rate:.0f}", core_ms, f"{cores:.2f}"]
        )
    compared = [["case", "ratio", "value", "bar", ""]]
    for row in ratio_rows:
        verdict = "met" if row["is_met"] else "MISSED"
        compared.append([row["case"], row["ratio"], f"{row['value']:.2f}", row["bar"], verdict])
    return "\n".join(["", *_aligned(rates), "", *_aligned(compared)])


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
