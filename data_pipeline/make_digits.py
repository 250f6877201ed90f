"""Writes shards of digit scenes: splits train, test_mixed and test_same.

Example:
  python -m data_pipeline.make_digits --output_dir=/tmp/digits
"""

from __future__ import annotations

import os

from absl import flags

from data_pipeline import command_line, digit_shards, digits

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder for the shards and their manifest; made if absent."
)
_SOURCE = flags.DEFINE_enum(
    "source", "sklearn", ["sklearn", "mnist"], "Where the scans of digits come from."
)
_MNIST_DIR = flags.DEFINE_string(
    "mnist_dir", None, "Folder of the four MNIST idx files, plain or .gz."
)
_SCENE_SIZE = flags.DEFINE_enum(
    "scene_size", "64", ["64", "128", "512"], "Side of a scene in pixels."
)
_NUM_TRAIN = flags.DEFINE_integer("num_train", 8000, "Number of training scenes.", lower_bound=1)
_NUM_TEST = flags.DEFINE_integer(
    "num_test", 200, "Number of scenes in each of the two test splits.", lower_bound=1
)
_MIN_DIGITS = flags.DEFINE_integer(
    "min_digits", 1, "Fewest digits painted into a scene.", lower_bound=1
)
_SAME_CLASS_FRACTION = flags.DEFINE_float(
    "same_class_fraction",
    0.3,
    "Share of training scenes whose digits are all of one class, in [0, 1].",
    lower_bound=0,
    upper_bound=1,
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Scene k of a split depends on (seed, split, k) alone.", lower_bound=0
)
_NUM_PICTURES = flags.DEFINE_integer(
    "num_pictures", 0, "Scenes of test_mixed also written as PNG, to pictures/ and labels/.", 0
)
_NUM_SHARDS = flags.DEFINE_integer("num_shards", 4, "Number of files a split.", lower_bound=1)


def main(argv: list[str]) -> None:
    """Writes the three splits; raises ValueError or OSError on bad input."""
    del argv
    scans, classes, is_test = digits.load_scans(_SOURCE.value, _MNIST_DIR.value)
    digit_shards.write_digit_shards(
        _OUTPUT_DIR.value,
        scans,
        classes,
        is_test,
        num_train=_NUM_TRAIN.value,
        num_test=_NUM_TEST.value,
        num_shards=_NUM_SHARDS.value,
        seed=_SEED.value,
        same_class_fraction=_SAME_CLASS_FRACTION.value,
        scene_size=int(_SCENE_SIZE.value),
        min_digits=_MIN_DIGITS.value,
        source=_SOURCE.value,
    )
    digit_shards.write_pictures(_OUTPUT_DIR.value, "test_mixed", _NUM_PICTURES.value)
    train = os.path.join(_OUTPUT_DIR.value, "train-*")
    test = os.path.join(_OUTPUT_DIR.value, "test_mixed-*")
    print(f"Wrote {', '.join(digit_shards.SPLITS)} to {_OUTPUT_DIR.value}. Next:")
    shard_flags = f"--train_shards='{train}' --eval_shards='{test}'"
    print(f"  python train_main.py --run_dir=runs/digits {shard_flags}")


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flag_as_required("output_dir")
    command_line.run(main)


if __name__ == "__main__":
    run()
