"""Measures grouping and pair loss beside other ways to compute them: time, memory, growth with N.

Each row of the table is a process of its own. Rates count 4N²D flops a loop forward, 14N²D with the
gradient and 4N²D for the pair loss, whatever a form really computes; `share` divides by the rate
of a large matrix product in the same process. float32 throughout. scikit-learn runs with its
default of one job, the others on all cores.

Example:
  python -m tests.benchmarks.bench_grouping --json=bench.json --plot=bench.png --model=EXPORT_DIR
  python -m tests.benchmarks.bench_grouping --json=bench.json --cases=pair_loss --points=4096
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from absl import flags, logging

from data_pipeline import command_line
from tests.benchmarks.benchmark_report import add_growth, draw, table, write_json
from tests.benchmarks.grouping_plan import CASES, FORM_NAMES, FORMS, INPUTS, Run, plan
from tests.benchmarks.grouping_scenes import scene_dim
from tests.benchmarks.measurement import machine_facts

_JSON = flags.DEFINE_string("json", None, "File for the rows; written anew after each.")
_PLOT = flags.DEFINE_string("plot", None, "File for a picture of time and memory against N.")
_MODEL = flags.DEFINE_string(
    "model", None, "Export whose embeddings of digit scenes are grouped; none: random points only."
)
_CASES = flags.DEFINE_list("cases", list(CASES), f"Some of {', '.join(CASES)}.")
_FORMS = flags.DEFINE_list("forms", list(FORM_NAMES), f"Some of {', '.join(FORM_NAMES)}.")
_POINTS = flags.DEFINE_list(
    "points", None, "N, numbers of points. Default: 1024 to 262144 but for what takes minutes."
)
_DIMS = flags.DEFINE_list(
    "dims",
    None,
    "D of random points; scenes have the export's. Default: 64, and 3, 16 at N = 4096.",
)
_INPUTS = flags.DEFINE_list(
    "inputs", None, f"Some of {', '.join(INPUTS)}. Default: random, and for group the scenes."
)
_NUM_LOOPS = flags.DEFINE_integer(
    "num_loops",
    None,
    "T of forward and gradient. Default: 10 and 5, above N = 16384 it is 1.",
    lower_bound=1,
)
_CONCENTRATION = flags.DEFINE_float("concentration", 36.0, "κ > 0.", lower_bound=1e-9)
_TIME_LIMIT = flags.DEFINE_float("time_limit", 300.0, "Seconds a row may take.", lower_bound=1)

_RECORDED = (
    *(_MODEL, _CASES, _FORMS, _POINTS, _DIMS),
    *(_INPUTS, _NUM_LOOPS, _CONCENTRATION, _TIME_LIMIT),
)
_PACKAGES = ("tensorflow", "keras", "torch", "scikit-learn", "numpy")


def run_module(module: str, arguments: dict[str, object], time_limit: float) -> tuple[str, str]:
    """Returns what a module of the benchmark printed, and why it failed, empty if it did not."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}"]
    command += [f"--{name}={value}" for name, value in arguments.items() if value is not None]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=time_limit, env=environment
        )
    except subprocess.TimeoutExpired:
        return "", f"more than {time_limit:g} s"
    if done.returncode < 0:
        return "", f"ended by signal {-done.returncode}"
    if done.returncode > 0:
        return "", (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
    return done.stdout, ""


def run_row(run: Run, scene_dir: str | None, concentration: float, time_limit: float) -> dict:
    """Returns the row of one run, measured in a process of its own."""
    row = {
        "case": run.form.case,
        "form": run.form.name,
        "points": run.points,
        "dim": run.dim,
        "input": run.input,
        "num_loops": run.num_loops or None,
    }
    arguments = {**row, "concentration": concentration, "scene_dir": scene_dir}
    printed, problem = run_module("grouping_case", arguments, time_limit)
    if problem:
        return {**row, "status": "failed", "note": problem}
    return {**row, **json.loads(printed.splitlines()[-1])}


def embed_scenes(model: str, output_dir: str, time_limit: float) -> int:
    """Returns D of the scenes, which are in output_dir now; raises ValueError if that fails."""
    arguments = {"model": model, "output_dir": output_dir}
    problem = run_module("grouping_scenes", arguments, time_limit)[1]
    if problem:
        raise ValueError(f"no embeddings of scenes from --model={model}: {problem}")
    return scene_dim(output_dir)


def known(flag: flags.FlagHolder, names: Sequence[str]) -> list[str] | None:
    """Returns the flag's names; raises ValueError if one is unknown."""
    for name in flag.value or ():
        if name not in names:
            raise ValueError(f"--{flag.name} must be some of {', '.join(names)}, got {name!r}")
    return flag.value


def numbers(flag: flags.FlagHolder) -> list[int] | None:
    """Returns the flag's numbers, rising; raises ValueError if one is no integer above 1."""
    if flag.value is None:
        return None
    if not all(text.isdecimal() and int(text) > 1 for text in flag.value):
        raise ValueError(f"--{flag.name} must be integers above 1, got {flag.value}")
    return sorted(int(text) for text in flag.value)


def run_all(content: dict, scene_dir: str, chosen: dict) -> bool:
    """Adds all rows to content and writes it after each; returns whether scenes were left out."""
    has_scenes = any(run.input != "random" for run in plan(**chosen, scene_dim=1))
    dim = 0
    if has_scenes and _MODEL.value:
        dim = embed_scenes(_MODEL.value, scene_dir, _TIME_LIMIT.value)
    runs = plan(**chosen, scene_dim=dim)
    for done, run in enumerate(runs, start=1):
        row = run_row(run, scene_dir, _CONCENTRATION.value, _TIME_LIMIT.value)
        content["rows"].append(row)
        add_growth(content["rows"])
        write_json(_JSON.value, content)
        result = f"{row['seconds']:.4g} s" if row["status"] == "ok" else row["note"]
        what = f"{run.form.case} {run.form.name} N={run.points} D={run.dim} {run.input}"
        logging.info("%d/%d %s: %s", done, len(runs), what, result)
    return has_scenes and not dim


def main(argv: list[str]) -> None:
    """Runs all rows, one after the other; writes the json after each and prints the table."""
    del argv
    cases, names = known(_CASES, CASES), known(_FORMS, FORM_NAMES)
    chosen = {
        "forms": [form for form in FORMS if form.case in cases and form.name in names],
        "sizes": numbers(_POINTS),
        "dims": numbers(_DIMS),
        "inputs": known(_INPUTS, INPUTS),
        "num_loops": _NUM_LOOPS.value,
    }
    if not plan(**chosen, scene_dim=1):
        raise ValueError("nothing to run: no form of --forms has these --cases, --points, --inputs")
    content = {
        "machine": machine_facts(_PACKAGES),
        "flags": {flag.name: flag.value for flag in _RECORDED},
        "rows": [],
    }
    write_json(_JSON.value, content)
    with tempfile.TemporaryDirectory() as scene_dir:
        lacks_scenes = run_all(content, scene_dir, chosen)
    print(table(content["rows"]))
    if lacks_scenes:
        print("Scenes were skipped: they need --model=EXPORT_DIR")
    if _PLOT.value:
        draw(content["rows"], _PLOT.value)


if __name__ == "__main__":
    flags.mark_flag_as_required("json")
    command_line.run(main)
