"""Measures how many augmented training examples a second this machine makes, beside other ways.

Decoding JPEG and label map, and every augmentation of the paper, for crops of 321 x 481 (BSDS) and
512 x 512 (COCO). The forms take turns, several rounds of them, and medians are compared: other
load on the machine then falls on all alike. `core ms` is processor time a picture of this process,
which such load leaves alone; processes of their own are not in it.

Example:
  python -m tests.benchmarks.bench_input --json=input.json --data=../shared/data
"""

import os
import statistics
import time
from collections.abc import Callable

from absl import flags, logging

from data_pipeline import command_line
from tests.benchmarks import input_albumentations, input_report, input_tensorflow
from tests.benchmarks.benchmark_report import write_json
from tests.benchmarks.input_pictures import CASES, Case, Pictures, load_pictures
from tests.benchmarks.measurement import machine_facts

_JSON = flags.DEFINE_string("json", None, "File for the figures.")
_DATA = flags.DEFINE_string("data", "../shared/data", "Folder with bsds500 and coco128seg.")
_CASES = flags.DEFINE_list("cases", [case.name for case in CASES], "Some of bsds, coco.")
_PICTURES = flags.DEFINE_integer("pictures", 100, "Different pictures a case.", lower_bound=1)
_COUNT = flags.DEFINE_integer("count", 300, "Pictures a round of a form makes.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Rounds that count.", lower_bound=1)

_RECORDED = (_DATA, _CASES, _PICTURES, _COUNT, _ROUNDS)
_TENSORFLOW_FORMS = {
    "ours": input_tensorflow.our_steps,
    "step by step": input_tensorflow.one_by_one,
    "bare JPEG": input_tensorflow.bare_decoding,
    "JPEG and labels": input_tensorflow.both_decodings,
}
_WORKERS = {"albumentations, threads": "threads", "albumentations, processes": "processes"}


def measure(forms: dict[str, Callable[[int], int]], count: int, rounds: int) -> dict[str, dict]:
    """Returns rates and processor time of each form; the forms take turns.

    Args:
      forms: by name, a function that makes a number of pictures.
      count: pictures a round.
      rounds: rounds that count, after one that traces and compiles.
    """
    rates: dict[str, list[float]] = {name: [] for name in forms}
    core_ms: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(rounds + 1):
        for name, run in forms.items():
            start, processor_start = time.perf_counter(), time.process_time()
            made = run(count)
            seconds = time.perf_counter() - start
            processor_seconds = time.process_time() - processor_start
            if number > 0:
                rates[name].append(made / seconds)
                core_ms[name].append(1e3 * processor_seconds / made)
        logging.info("round %d of %d", number, rounds)
    return {
        name: {
            "images_per_second": statistics.median(rates[name]),
            "core_ms": None if "processes" in name else statistics.median(core_ms[name]),
            "all_rates": rates[name],
        }
        for name in forms
    }


def run_case(case: Case, pictures: Pictures) -> list[dict]:
    """Returns the rows of a case."""
    forms = {
        name: input_tensorflow.passes(pictures, steps, case.crop_size)
        for name, steps in _TENSORFLOW_FORMS.items()
    }
    workers = []
    if input_albumentations.is_installed():
        for name, kind in _WORKERS.items():
            workers.append(input_albumentations.Workers(*pictures, case.crop_size, kind))
            forms[name] = workers[-1].run
    try:
        measured = measure(forms, _COUNT.value, _ROUNDS.value)
    finally:
        for pool in workers:
            pool.close()
    cores = len(os.sched_getaffinity(0))
    return [
        {
            "case": case.name,
            "crop": "{} x {}".format(*case.crop_size),
            "form": name,
            "cores_for_100_per_second": 100 * cores / figures["images_per_second"],
            **figures,
        }
        for name, figures in measured.items()
    ]


def main(argv: list[str]) -> None:
    """Runs all cases, writes the json and prints the tables."""
    del argv
    chosen = [case for case in CASES if case.name in _CASES.value]
    if len(chosen) < len(_CASES.value):
        raise ValueError(f"--cases must be some of bsds, coco, got {_CASES.value}")
    rows = []
    for case in chosen:
        logging.info("%s: %d x %d", case.name, *case.crop_size)
        rows += run_case(case, load_pictures(case, _DATA.value, _PICTURES.value))
    ratios = input_report.ratios(rows)
    content = {
        "machine": machine_facts(input_report.PACKAGES),
        "flags": {flag.name: flag.value for flag in _RECORDED},
        "rows": rows,
        "ratios": ratios,
    }
    write_json(_JSON.value, content)
    print(input_report.table(rows, ratios))
    if not input_albumentations.is_installed():
        print("albumentations was left out: it is not installed")


if __name__ == "__main__":
    flags.mark_flag_as_required("json")
    command_line.run(main)
