"""Runs one case of the grouping benchmark in this process and prints its figures as a JSON line.

Example:
  python -m tests.benchmarks.grouping_case --case=forward --form=tiled --points=1024 --dim=16
"""

import contextlib
import importlib
import json
import math

import numpy as np
from absl import app, flags

from tests.benchmarks.grouping_plan import CASES, FORM_NAMES, Run, find_form
from tests.benchmarks.grouping_scenes import load_points
from tests.benchmarks.measurement import (
    PeakMemory,
    product_gflops,
    product_seconds,
    release_memory,
    resident_bytes,
    time_calls,
)

_CASE = flags.DEFINE_enum("case", None, CASES, "What to compute.")
_FORM = flags.DEFINE_enum("form", None, FORM_NAMES, "How to compute it.")
_POINTS = flags.DEFINE_integer("points", 1024, "N, number of points.", lower_bound=1)
_DIM = flags.DEFINE_integer("dim", 64, "D of random points.", lower_bound=2)
_INPUT = flags.DEFINE_string("input", "random", "random, or a scene in --scene_dir.")
_SCENE_DIR = flags.DEFINE_string("scene_dir", None, "Folder with the embeddings of scenes.")
_NUM_LOOPS = flags.DEFINE_integer("num_loops", 0, "T of forward and gradient.", lower_bound=0)
_CONCENTRATION = flags.DEFINE_float("concentration", 36.0, "κ > 0.", lower_bound=1e-9)

# Flops a loop over N²D: two products of 2N²D forward, seven with the gradient. Forms that use the
# symmetry of the kernel need fewer, so their share may pass 1.
_FLOPS = {"forward": 4, "gradient": 14, "pair_loss": 4, "group": 4}


def measure(run: Run, scene_dir: str | None, concentration: float) -> dict:
    """Returns the figures of one run, as a row of the table has them."""
    # Only what the form needs is imported: other libraries would be resident beside it.
    forms = importlib.import_module(f"tests.benchmarks.{run.form.library}_forms")
    resident_after_imports = resident_bytes()
    # Before the case and after it, since the machine's pace changes; medians, as the case's own.
    product = forms.square_product()
    products = product_seconds(product)
    release_memory()
    # What the product leaves resident (code, threads) is not the case's: of TensorFlow 80 MB, where
    # a small case without it stays within 32 MB of the imports.
    resident_before = resident_bytes()
    call, facts_of = forms.prepare(
        run, load_points(run.input, run.points, run.dim, scene_dir), concentration
    )
    memory = PeakMemory()
    timing = time_calls(call)
    peak = memory.stop()
    rate = product_gflops(products + product_seconds(product))
    row = {
        "seconds": timing.seconds,
        "repeats": timing.repeats,
        "peak_megabytes": (peak - resident_before) / 1e6,
        "runtime_megabytes": (resident_before - resident_after_imports) / 1e6,
        "product_gflops": rate,
        **facts_of(timing.result),
    }
    num_flops = _count_flops(run, row.get("num_loops", run.num_loops))
    if num_flops:
        row["gflops"] = num_flops / timing.seconds / 1e9
        row["share"] = row["gflops"] / rate
    return row


def _count_flops(run: Run, num_loops: int) -> int:
    """Returns the flops a run stands for; 0 where loops do not all go over all points."""
    if run.form.name == "ours" or run.form.library == "sklearn":
        return 0
    loops = 1 if run.form.case == "pair_loss" else num_loops
    return _FLOPS[run.form.case] * run.points**2 * run.dim * loops


def main(argv: list[str]) -> None:
    """Prints the row; a package that is not installed gives a row that says so."""
    del argv
    # Should memory run out, the system is to end this process and no other.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    form = find_form(_CASE.value, _FORM.value)
    run = Run(form, _POINTS.value, _DIM.value, _INPUT.value, _NUM_LOOPS.value)
    try:
        row = {"status": "ok", **measure(run, _SCENE_DIR.value, _CONCENTRATION.value)}
    except ModuleNotFoundError as error:
        row = {"status": "skipped", "note": f"no package {error.name}"}
    # JSON has no NaN, which the Rand index of no points is.
    row = {
        key: None if isinstance(value, float | np.floating) and math.isnan(value) else value
        for key, value in row.items()
    }
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    flags.mark_flags_as_required(["case", "form"])
    app.run(main)
