"""What each part of the method changes on nuclei: a row of equal minutes a variant, from one start.

The start trains the classes alone, with the recipe `nuclei`; every row goes on from its weights
with the recipe, the loss as Eq. 2 has it, and the flags of ROWS. Everything else is equal but the
number of steps: the first row makes as many as --minutes of one core allow, another as many as
cost the same. What a step costs is told beforehand by a short run of the row and one of the first
side by side, so that whatever else the machine does slows both; plan.json keeps it, and the
trainings may then run on a busy machine. A row that is there already is not run again, so the
command can be killed and given once more. The seeds of a row run side by side, one core each.

Example, in the background:
  python -m data_pipeline.convert_folders --images=nuclei/images --labels=nuclei/labels \\
      --split_file=nuclei/index.csv --output_dir=shards
  nohup nice python -m tests.benchmarks.ablation --shards=shards --output_dir=runs/ablation &

Writes plan.json and <row>/<seed>.json into --output_dir and prints the table as it stands, a mean
over seeds and half the distance between the largest and the smallest.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np
from absl import app, flags
from scipy import ndimage

_SHARDS = flags.DEFINE_string("shards", None, "Folder of the nuclei's shards, train-* and val-*.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the runs and the figures.")
_MINUTES = flags.DEFINE_float("minutes", 10.0, "Of one core, for the first row.", lower_bound=0)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1"], "Of start, data order and drawn pixels.")
_ROWS = flags.DEFINE_list("rows", [], "Names of rows; by default all.")
_THREADS = flags.DEFINE_integer("threads", 1, "Of TensorFlow; 0: one a core.", lower_bound=0)
_KEEP = flags.DEFINE_bool("keep", False, "Keep checkpoints, not only figures.")

_ROOT = pathlib.Path(__file__).parents[2]
_PROBE_STEPS = 60
_EMBEDDING_ONLY = 0.4  # --embedding_only_fraction of the recipe: steps without loops come first

# A crop of 160 × 160 has 25,600 pixels; the recipe draws 1,024 of its foreground, 40 % of them near
# borders.
ROWS = {
    "2 loops": [],
    "classes alone": ["--embedding_weight=0"],
    "pair loss alone": ["--num_loops=0"],
    "1 loop": ["--num_loops=1"],
    "3 loops": ["--num_loops=3"],
    "5 loops": ["--num_loops=5"],
    "κ learned": ["--learn_grouping"],
    "no instance weights": ["--noinstance_weights"],
    "divided by pixels": ["--normalizer=pixels"],
    "means over pairs": ["--normalizer=pairs"],
    "positive weight 4": ["--positive_weight=4"],
    "5 % of pixels": ["--num_pixels=1280"],
    "20 % of pixels": ["--num_pixels=5120"],
    "all pixels": ["--num_pixels=0", "--border_fraction=0"],
    "margin 0.3": ["--margin=0.3"],
    "margin 0.7": ["--margin=0.7"],
    "uniform draw": ["--border_fraction=0"],
    "equal draw": ["--equal_draw"],
    "no position": ["--position=none"],
    "no position but radius 32": ["--position=none", "--radius=32"],
    "position channels": ["--position=channels"],
    "radius 32": ["--radius=32"],
}
_FIRST, _START = "2 loops", "start"
# Of the recipe; the concentration is that of the loss, or what was learned.
_READ_OUT = {"min_area": 20, "split_components": True}
FIGURES = ("matching_50", "matching_70", "matching_90", "pq", "miou", "holes")


def hole_share(foreground: np.ndarray) -> float:
    """Returns the share of pixels that a map [H, W] bool gains where its holes are filled."""
    filled = ndimage.binary_fill_holes(foreground)
    return float((filled & ~foreground).sum() / max(filled.sum(), 1))


def train(
    run_dir: str, num_steps: int, seed: str, *row_flags: str
) -> tuple[dict[int, float], float]:
    """Returns processor seconds so far at every tenth step, and peak MiB, of a run made here.

    Raises:
      RuntimeError: if training fails; with the end of what it said.
    """
    command = [
        *(sys.executable, "train_main.py", "--flagfile=rpe_tf/recipes/nuclei.flags"),
        "--task=semantic",  # the same net and losses, without fitting scores afterwards
        "--instance_weights",
        *(f"--run_dir={run_dir}", f"--train_shards={_SHARDS.value}/train-*", f"--seed={seed}"),
        *(f"--num_steps={num_steps}", "--report_every=10", "--save_every=200"),
        *("--picture_every=0", *row_flags),
    ]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if _THREADS.value:
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        environment |= dict.fromkeys(names, str(_THREADS.value))
    os.makedirs(run_dir, exist_ok=True)
    log = os.path.join(run_dir, "log.txt")
    seen: dict[int, float] = {}  # processor seconds by the steps that were reported
    with open(log, "a", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, cwd=_ROOT, stdout=file, stderr=subprocess.STDOUT, env=environment
        )
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            if step := _last_step(run_dir):
                seen.setdefault(step, _processor_seconds(process.pid))
            time.sleep(0.05)
    _, status, usage = ended
    if status:
        with open(log, encoding="utf-8") as file:
            raise RuntimeError(f"{' '.join(command)} failed: {file.read()[-2000:]}")
    return seen, usage.ru_maxrss / 1024


def _last_step(run_dir: str) -> int:
    """Returns the last step that a run reported, 0 before any."""
    path = pathlib.Path(run_dir, "metrics.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    return json.loads(whole[-1])["step"] if whole else 0


def _processor_seconds(pid: int) -> float:
    """Returns the processor time of a process, user's and system's (`man 5 proc`)."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()  # from the third on
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def score(run_dir: str) -> dict[str, float]:
    """Returns FIGURES of the val split of a run, and what else training reports."""
    import tensorflow as tf  # not before the trainings: it would hold memory beside them

    from data_pipeline import input_pipeline, shards
    from export.trained_run import restore_run
    from rpe_tf.tasks import instances

    if _THREADS.value:
        tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    run = restore_run(run_dir)
    paths = shards.list_shards(f"{_SHARDS.value}/val-*")
    examples = input_pipeline.evaluation_dataset(paths)
    concentration = {"concentration": run.settings["loss"]["concentration"]}
    read_out = {**_READ_OUT, **concentration, **run.settings["read_out"]}
    scores = instances.evaluate(run.model, examples, read_out)
    foreground = tf.function(
        lambda image: tf.argmax(run.model(image, training=False)["logit"][0], axis=-1) > 0,
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
    )
    holes = [hole_share(foreground(x["image"]).numpy()) for x in examples]
    return scores | {"holes": float(np.mean(holes))}


def plan_row(name: str) -> dict:
    """Returns the steps of a row and what each costs in processor seconds, from plan.json if there.

    Seconds are those of the first row's own plan, times what the row costs beside it.
    """
    path = os.path.join(_OUTPUT_DIR.value, "plan.json")
    plan = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            plan = json.load(file)
    if name in plan:
        return plan[name]
    if name == _FIRST:
        step_s = _probe(_FIRST)
        plan[name] = {"num_steps": round(60 * _MINUTES.value / step_s), "step_s": step_s}
    else:
        first = plan_row(_FIRST)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            row, beside = pool.map(_probe, [name, _FIRST])
        step_s = first["step_s"] * row / beside
        num_steps = round(first["num_steps"] * beside / row)
        plan |= {_FIRST: first, name: {"num_steps": num_steps, "step_s": step_s}}
    _write(path, plan)
    return plan[name]


def _probe(name: str) -> float:
    """Returns processor seconds a step of a row, without and with its loops as the recipe has both.

    Of a short run, which leaves nothing behind. Steps in which a function is traced are left out:
    the first ten, and those about step 24, where the loops begin.
    """
    with tempfile.TemporaryDirectory() as folder:
        seen, _ = train(folder, _PROBE_STEPS, "0", *_row_flags(name))
    without, within = (seen[20] - seen[10]) / 10, (seen[60] - seen[30]) / 30
    return _EMBEDDING_ONLY * without + (1 - _EMBEDDING_ONLY) * within


def _row_flags(name: str) -> list[str]:
    return ["--embedding_weight=0"] if name == _START else ROWS[name]


def run_row(name: str, seed: str) -> dict:
    """Returns the figures of a row, from its file where it has run before."""
    folder = os.path.join(_OUTPUT_DIR.value, re.sub(r"\W+", "_", name))
    path, run_dir = os.path.join(folder, f"{seed}.json"), os.path.join(folder, seed)
    # Of the start its weights are needed too, which are not kept with the figures.
    if os.path.exists(path) and (name != _START or os.path.isdir(f"{run_dir}/checkpoints")):
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    plan, row_flags = plan_row(name), _row_flags(name)
    if name != _START:
        row_flags = [*row_flags, f"--init_from={os.path.join(_OUTPUT_DIR.value, _START, seed)}"]
    _, peak_mib = train(run_dir, plan["num_steps"], seed, *row_flags)
    figures = {"peak_mib": peak_mib, **plan}
    if name != _START:
        figures |= score(run_dir)
        if not _KEEP.value:
            shutil.rmtree(os.path.join(run_dir, "checkpoints"))
    _write(path, figures)
    return figures


def _write(path: str, record: dict) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump(record, file, indent=2)
    os.replace(f"{path}.part", path)


def table(rows: dict[str, list[dict]]) -> str:
    """Returns the rows as markdown, by name the figures of each seed."""
    names = (*FIGURES, "num_steps", "step_s", "peak_mib")
    lines = [f"| row | seeds | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for row, seeds in rows.items():
        cells = []
        for name in names:
            values = [seed[name] for seed in seeds]
            digits = 0 if name in ("num_steps", "peak_mib") else 3
            half = (max(values) - min(values)) / 2
            spread = f" ± {half:.{digits}f}" if name in FIGURES and len(values) > 1 else ""
            cells.append(f"{np.mean(values):.{digits}f}{spread}")
        lines.append(f"| {row} | {len(seeds)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Runs what is missing, row by row, and prints the table after each."""
    del argv
    names = _ROWS.value or list(ROWS)
    if unknown := set(names) - ROWS.keys():
        raise ValueError(f"no such rows: {sorted(unknown)}; there are {list(ROWS)}")
    done: dict[str, list[dict]] = {}
    for name in (_START, *names):
        plan_row(name)
    with concurrent.futures.ThreadPoolExecutor(len(_SEEDS.value)) as pool:
        list(pool.map(lambda seed: run_row(_START, seed), _SEEDS.value))
        for name in names:
            done[name] = list(pool.map(lambda seed, name=name: run_row(name, seed), _SEEDS.value))
            print(table(done), flush=True)


if __name__ == "__main__":
    flags.mark_flags_as_required(["shards", "output_dir"])
    app.run(main)
