"""Trains a tiny run, for later versions and other versions of TensorFlow to take up.

  python -m tests.make_run_data

Run it by the Python of either stack: in tests/data/runs.tar.xz the run of this TensorFlow is
replaced, those of others stay. VERSION/ there is the run folder, without TensorBoard's events, and
`answers.npz`: a picture, and what the model says of it.
"""

import io
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf

from export.trained_run import restore_run
from tests.archives import read_archive, write_archive
from tests.stripes import write_stripes

ARCHIVE = pathlib.Path(__file__).parent / "data" / "runs.tar.xz"
FLAGS = (
    *("--width=8", "--num_levels=2", "--embedding_dim=4", "--batch_size=4", "--num_pixels=64"),
    *("--num_steps=20", "--save_every=20", "--report_every=5", "--crop_size=24,24"),
    *("--num_kept=1", "--picture_every=0", "--num_blocks=1"),
)
_ROOT = pathlib.Path(__file__).parents[1]


def train(run_dir, shards, *flags):
    """(exit code, what was said) of a training of the stripes; a run that is there goes on."""
    command = [
        *(sys.executable, "train_main.py", f"--run_dir={run_dir}", *FLAGS, *flags),
        *(f"--train_shards={shards}/train-*", f"--eval_shards={shards}/train-*"),
    ]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def main():
    """Replaces this version's part of the archive."""
    files = {
        name: x for name, x in read_archive(ARCHIVE).items() if not name.startswith(tf.__version__)
    }
    with tempfile.TemporaryDirectory() as work:
        write_stripes(work)
        run_dir = pathlib.Path(work, "run")
        code, said = train(run_dir, work)
        if code:
            raise RuntimeError(said)
        image = np.random.default_rng(0).integers(0, 256, [1, 20, 24, 3], dtype=np.uint8)
        answers = io.BytesIO()
        np.savez(answers, image=image, embedding=restore_run(str(run_dir)).model(image))
        files[f"{tf.__version__}/answers.npz"] = answers.getvalue()
        for path in sorted(run_dir.rglob("*")):
            name = str(path.relative_to(run_dir))
            if path.is_file() and path.suffix != ".html" and not name.startswith("tensorboard"):
                files[f"{tf.__version__}/{name}"] = path.read_bytes()
    write_archive(ARCHIVE, files)


if __name__ == "__main__":
    main()
