"""The program: the same flags give the same bytes, and bad input gives one line.

It runs as a process of its own, because programs may share names of flags.
"""

import os

from programs import run_all

_SMALL = ["--num_train=6", "--num_test=3", "--num_shards=2", "--seed=7"]


def test_make_digits_run_twice_gives_equal_bytes(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    results = run_all(
        "data_pipeline.make_digits", *([f"--output_dir={folder}", *_SMALL] for folder in folders)
    )
    for folder, (code, out, err) in zip(folders, results, strict=True):
        assert code == 0, err
        assert f"--train_shards='{folder}/train-*'" in out
        assert "train: 100%" in err and "6/6" in err
    names = sorted(os.listdir(folders[0]))
    assert len(names) == 3 * 2 + 1 and names == sorted(os.listdir(folders[1]))
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_make_digits_says_what_is_wrong_without_a_traceback(tmp_path):
    cases = [
        (["--source=mnist", f"--mnist_dir={tmp_path}/none"], "none/train-images-idx3-ubyte[.gz]"),
        (["--output_dir=/dev/null/x"], "error: /dev/null"),
    ]
    base = [f"--output_dir={tmp_path / 'out'}", *_SMALL]
    results = run_all("data_pipeline.make_digits", *(base + extra for extra, _ in cases))
    for (_, message), (code, _, err) in zip(cases, results, strict=True):
        assert code == 1
        assert message in err and "Traceback" not in err
    assert not os.listdir(tmp_path)
