"""Compares the memory that a training is said to take with what it takes.

  python -m tests.benchmarks.bench_memory

For each setting a training of a few steps in a process of its own: its estimate, as its log says
it, and how far its resident memory rises above that before the model was built.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from absl import app

from rpe_tf import run_folder
from tests.stripes import write_stripes

_ROOT = pathlib.Path(__file__).parents[2]
_NUM_STEPS = 4
_SETTINGS = {
    "small net, 2 crops of 256": ("--width=16", "--batch_size=2", "--crop_size=256,256"),
    "small net, 8 crops of 256": ("--width=16", "--batch_size=8", "--crop_size=256,256"),
    "wider net, 2 crops of 512": ("--width=32", "--batch_size=2", "--crop_size=512,512"),
    "ResNet-50, 2 crops of 256": ("--backbone=resnet50", "--batch_size=2", "--crop_size=256,256"),
    "ResNet-50, 4 crops of 384": ("--backbone=resnet50", "--batch_size=4", "--crop_size=384,384"),
    "small net, bfloat16, 8 crops of 512": (
        *("--width=16", "--batch_size=8", "--crop_size=512,512"),
        "--precision=mixed_bfloat16",
    ),
}


def main(argv):
    """Prints the table."""
    del argv
    print("| setting | estimate, MiB | measured, MiB | measured / estimate |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write_stripes(folder)
        for number, (name, flags) in enumerate(_SETTINGS.items()):
            estimate, measured = measure(folder, f"{folder}/run_{number}", flags)
            ratio = measured / estimate
            print(f"| {name} | {estimate:,.0f} | {measured:,.0f} | {ratio:.2f} |", flush=True)


def measure(shards, run_dir, flags):
    """(MiB the log states, MiB that the peak is above memory as it was when the run was opened)."""
    log = pathlib.Path(f"{run_dir}.log")
    command = [
        *(sys.executable, "train_main.py", f"--run_dir={run_dir}", "--num_levels=3"),
        *(f"--train_shards={shards}/train-*", f"--num_steps={_NUM_STEPS}", *flags),
    ]
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, cwd=_ROOT, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, stderr=file
        )
    start, peak = None, 0.0
    while process.poll() is None:
        fields = _status(process.pid)
        # settings.json is written before anything of the training is built.
        if start is None and os.path.exists(f"{run_dir}/settings.json") and "VmRSS" in fields:
            start = fields["VmRSS"]
        peak = max(peak, fields.get("VmHWM", 0.0))
        time.sleep(0.05)
    said = log.read_text(encoding="utf-8")
    if process.returncode or len(run_folder.read_metrics(run_dir)) < 1:
        raise RuntimeError(said)
    estimate = re.search(r"training takes about ([\d,]+) MiB", said)[1]
    return float(estimate.replace(",", "")), peak - start


def _status(pid):
    """Fields of a process in MiB, none if it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            lines = [line.split(":", 1) for line in file]
    except OSError:
        return {}
    return {name: int(value.split()[0]) / 1024 for name, value in lines if name.startswith("Vm")}


if __name__ == "__main__":
    app.run(main)
