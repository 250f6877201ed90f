"""Trains StarDist on the nuclei for some minutes, predicts the val split and scores it.

StarDist is not among what this package needs. It runs with TensorFlow 2.15 in an environment of
its own:
  python3.10 -m venv stardist-venv
  stardist-venv/bin/pip install tensorflow==2.15.1 stardist==0.9.2 csbdeep 'numpy<2'
  stardist-venv/bin/python -m tests.benchmarks.stardist_nuclei --data=nuclei --minutes=60 \\
      --output_dir=stardist

Settings are those of its own example training: 32 rays on a grid of (2, 2), patches of 256 × 256,
4 a step, Adam at 3e-4, each channel scaled by its percentiles 1 and 99.8, holes in labels filled,
flips, right angles, brightness and noise as augmentation, weights of the best validation loss, and
its two thresholds optimised at the end. Validation and thresholds use --val_fraction of the train
split; the val split is only predicted. Pictures come as red, green and blue, grey ones with three
equal channels: a model that sees both kinds must not be denied the stain's colour, and the first
convolution alone gets dearer. --channels=1 turns all into grey, as its example for fluorescence.

The minutes are of the clock, from the first call of its training to the last step; the epoch at
work then is cut short, its validation (seconds) still runs. Thresholds and prediction come after.

Writes <id>.png of 16 bits and names.txt, for the scores of this package:
  python -m rpe_tf.metrics.evaluate_main --task=instances --predictions=stardist \\
      --ground_truth=nuclei/labels --names=stardist/names.txt --json=stardist.json
"""

import json
import os
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from absl import app, flags
from csbdeep.utils import normalize
from PIL import Image
from stardist import fill_label_holes
from stardist.matching import matching_dataset
from stardist.models import Config2D, StarDist2D

from tests.benchmarks import nuclei_figures

_DATA = flags.DEFINE_string("data", None, "Folder with index.csv, images/ and labels/.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for label PNGs and the model.")
_MINUTES = flags.DEFINE_float("minutes", 60.0, "Of training, by the clock.", lower_bound=0)
_CHANNELS = flags.DEFINE_enum("channels", "3", ["1", "3"], "1: all pictures as grey.")
_VAL_FRACTION = flags.DEFINE_float(
    "val_fraction", 0.1, "Of train, for StarDist's validation and thresholds.", 0.01, 0.5
)
_SEED = flags.DEFINE_integer("seed", 0, "Of that choice, of weights, patches and augmentation.")

_MODEL = "model"  # folder in the output folder
_THRESHOLDS = (0.5, 0.7, 0.9)
_PERCENTILES = (1, 99.8)
# Pictures larger than this many pixels a side are predicted in tiles, for memory.
_TILE = 1024
_STEPS_PER_EPOCH = 100
_MOST_EPOCHS = 10_000
# Of the example's augmentation: factor and summand of the brightness, deviation of the noise.
_FACTOR, _SUMMAND, _NOISE = (0.6, 2.0), (-0.2, 0.2), 0.02


class StopAt(tf.keras.callbacks.Callback):
    """Ends a training after the step in which a time is reached."""

    def __init__(self, seconds: float) -> None:
        """Takes the seconds from now on."""
        super().__init__()
        self.end = time.monotonic() + seconds
        self.num_steps = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Counts the step and looks at the clock."""
        self.num_steps += 1
        if time.monotonic() >= self.end:
            self.model.stop_training = True


def read_picture(data: str, name: str, num_channels: int) -> np.ndarray:
    """Returns a picture scaled by its percentiles, [H, W] or [H, W, 3] float32."""
    with Image.open(os.path.join(data, "images", f"{name}.png")) as picture:
        pixels = np.asarray(picture.convert("L" if num_channels == 1 else "RGB"))
    return normalize(pixels, *_PERCENTILES, axis=(0, 1)).astype(np.float32)


def read_labels(data: str, name: str) -> np.ndarray:
    """Returns the instances of a picture, [H, W] uint16."""
    with Image.open(os.path.join(data, "labels", f"{name}.png")) as picture:
        return np.asarray(picture).astype(np.uint16)


def make_augmenter(seed: int) -> Callable:
    """Returns the function picture, labels → picture, labels that StarDist calls for a patch."""
    rng = np.random.default_rng(seed)

    def augment(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turns, is_flipped = int(rng.integers(4)), bool(rng.integers(2))
        image, labels = (np.rot90(x, turns) for x in (image, labels))
        if is_flipped:
            image, labels = image[::-1], labels[::-1]
        image = image * rng.uniform(*_FACTOR) + rng.uniform(*_SUMMAND)
        noise = _NOISE * rng.uniform() * rng.normal(size=image.shape)
        return (image + noise).astype(np.float32), labels

    return augment


def train(model: StarDist2D, examples: Sequence[tuple], seconds: float) -> dict:
    """Returns steps and seconds of the training; thresholds are optimised too.

    Args:
      model: new.
      examples: (pictures, labels) to train on, (pictures, labels) to validate on.
      seconds: of training.
    """
    (images, labels), validation = examples
    model.prepare_for_training()
    stop = StopAt(seconds)
    model.callbacks.append(stop)
    start = time.monotonic()
    model.train(
        *(images, labels),
        validation_data=validation,
        augmenter=make_augmenter(_SEED.value),
        seed=_SEED.value,
        epochs=_MOST_EPOCHS,
        steps_per_epoch=_STEPS_PER_EPOCH,
    )
    trained = time.monotonic()
    thresholds = model.optimize_thresholds(*validation)
    return {
        "num_steps": stop.num_steps,
        "train_seconds": trained - start,
        "thresholds_seconds": time.monotonic() - trained,
        "thresholds": thresholds,
    }


def predict(model: StarDist2D, image: np.ndarray) -> np.ndarray:
    """Returns the instances of a picture, [H, W] uint16."""
    tiles = [-(-side // _TILE) for side in image.shape[:2]] + [1] * (image.ndim - 2)
    labels, _ = model.predict_instances(image, n_tiles=tuple(tiles), show_tile_progress=False)
    return labels.astype(np.uint16)


def score_as_stardist(truth: dict, predicted: dict, kinds: dict[str, str]) -> str:
    """Returns TP / (TP + FP + FN) by stardist.matching, a line a kind; arguments by name."""
    lines = ["by stardist.matching, TP/(TP+FP+FN) at IoU " + ", ".join(map(str, _THRESHOLDS))]
    for kind in ("all", *nuclei_figures.KINDS.values()):
        names = [name for name in truth if kind in ("all", kinds[name])]
        found = matching_dataset(
            [truth[name] for name in names],
            [predicted[name] for name in names],
            thresh=_THRESHOLDS,
            show_progress=False,
        )
        figures = "  ".join(f"{x.accuracy:.4f} ({x.tp} {x.fp} {x.fn})" for x in found)
        lines.append(f"{kind:14}{figures}")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Trains, predicts, writes and scores."""
    del argv
    os.makedirs(_OUTPUT_DIR.value, exist_ok=True)
    num_channels = int(_CHANNELS.value)
    tf.keras.utils.set_random_seed(_SEED.value)
    config = Config2D(
        n_rays=32,
        grid=(2, 2),
        n_channel_in=num_channels,
        train_patch_size=(256, 256),
        train_batch_size=4,
        train_learning_rate=3e-4,
        train_tensorboard=False,
        use_gpu=False,
    )
    model = StarDist2D(config, name=_MODEL, basedir=_OUTPUT_DIR.value)
    facts = train(model, _examples(num_channels), 60 * _MINUTES.value)
    print(json.dumps(facts), flush=True)
    nuclei = nuclei_figures.read_index(_DATA.value, "val")
    truth = {x.name: read_labels(_DATA.value, x.name) for x in nuclei}
    predicted = {}
    for x in nuclei:
        predicted[x.name] = predict(model, read_picture(_DATA.value, x.name, num_channels))
        Image.fromarray(predicted[x.name]).save(os.path.join(_OUTPUT_DIR.value, f"{x.name}.png"))
    with open(os.path.join(_OUTPUT_DIR.value, "names.txt"), "w", encoding="utf-8") as file:
        file.writelines(f"{x.name}\n" for x in nuclei)
    print(score_as_stardist(truth, predicted, {x.name: x.kind for x in nuclei}))
    records = nuclei_figures.score_folder(_DATA.value, nuclei, _OUTPUT_DIR.value)
    print(nuclei_figures.format_table({"stardist": nuclei_figures.summarize(records)}))


def _examples(num_channels: int) -> tuple[tuple, tuple]:
    """Returns pictures and labels to train on, and those held out of the train split."""
    nuclei = nuclei_figures.read_index(_DATA.value, "train")
    order = np.random.default_rng(_SEED.value).permutation(len(nuclei))
    num_held_out = max(1, round(_VAL_FRACTION.value * len(nuclei)))
    held_out, kept = (
        [nuclei[k].name for k in part] for part in (order[:num_held_out], order[num_held_out:])
    )
    return tuple(
        (
            [read_picture(_DATA.value, name, num_channels) for name in names],
            [fill_label_holes(read_labels(_DATA.value, name)) for name in names],
        )
        for names in (kept, held_out)
    )


if __name__ == "__main__":
    flags.mark_flags_as_required(["data", "output_dir"])
    app.run(main)
