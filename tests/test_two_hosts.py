"""Two processes of this machine as the two hosts of a cluster, with fewer files and with enough."""

import re

import numpy as np
import pytest
from clusters import finish, start_hosts

from data_pipeline import conversion
from data_pipeline.labelled_picture import LabelledPicture, Source
from rpe_tf import run_folder

_FLAGS = [
    *("--width=8", "--num_levels=2", "--embedding_dim=4", "--batch_size=4", "--num_pixels=64"),
    *("--num_steps=4", "--report_every=1", "--crop_size=16,16"),
]
_BEST = ("--save_every=1", "--eval_every=1", "--best_by=average_recall", "--picture_every=0")


def _picture(source):
    image = np.random.default_rng(source.details).integers(0, 256, (20, 20, 3), np.uint8)
    return LabelledPicture(image, (image[..., 0] // 64).astype(np.int32))


def _train_on_two_hosts(folder, num_shards, *flags):
    """What each of two workers said."""
    sources = [Source(f"p_{k}", details=k) for k in range(8)]
    conversion.write_split(_picture, sources, str(folder), "train", num_shards=num_shards)
    flags = [f"--run_dir={folder}/run", f"--train_shards={folder}/train-*", *_FLAGS, *flags]
    ends = [finish(process) for process in start_hosts(2, folder / "own", *flags)]
    assert [code for code, _ in ends] == [0, 0], ends
    return [said for _, said in ends]


@pytest.mark.parametrize(
    "num_shards, shared", [(1, "DATA: 1 files are fewer than 2"), (4, "FILE: 4 files give parts")]
)
def test_two_hosts_share_the_data_and_agree(tmp_path, num_shards, shared):
    said = _train_on_two_hosts(tmp_path, num_shards)
    losses = [re.findall(r"step \d/4  loss_loop_0 ([\d.e+-]+)", one) for one in said]
    assert len(losses[0]) == 4 and losses[0] == losses[1]
    assert all(f"data shared out by {shared}" in one for one in said)
    # Only the first writes.
    assert [row["step"] for row in run_folder.read_metrics(f"{tmp_path}/run")] == [1, 2, 3, 4]


def test_two_hosts_take_the_same_best_weights(tmp_path):
    said = _train_on_two_hosts(tmp_path, 1, f"--eval_shards={tmp_path}/train-*", *_BEST)
    best = run_folder.read_best(f"{tmp_path}/run")
    taken = f"the weights of step {best['step']}, best by average_recall, are taken"
    # Each worker keeps the weights after the same steps, and has them at the end.
    kept = [re.findall(r"best so far by average_recall: \S+ at step \d", one) for one in said]
    assert kept[0] == kept[1] and all(taken in one for one in said)
    scores = [re.findall(r"train: (.*)  \(", one)[-1] for one in said]
    assert scores[0] == scores[1]
