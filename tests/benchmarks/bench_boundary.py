"""Measures the boundary evaluation: thinnings and matchings a second, minutes for all of BSDS500.

The maps are made from pictures and what people drew on them: the mean of the annotators, moved
about a little, blurred and of uneven strength, over the picture's gradients. At a threshold of 0.1
some 30,000 pixels of 154,401 are predicted, as by networks. One process; times are of its
processor, so that other work on the machine does not count.

Example:
  python -m tests.benchmarks.bench_boundary --bsds=bsds500 --pictures=10 --json=boundary.json
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import app, flags
from PIL import Image
from scipy import ndimage

from rpe_tf.metrics import boundary_pr
from rpe_tf.metrics.boundary_files import read_truth
from rpe_tf.metrics.boundary_matching import match_prepared, prepare_truth
from rpe_tf.metrics.edge_thinning import suppress_non_maxima, thin
from tests.benchmarks.measurement import machine_facts

_BSDS = flags.DEFINE_string("bsds", None, "Folder with images/test and groundTruth/test.")
_PICTURES = flags.DEFINE_integer("pictures", 10, "How many, spread over the 200.", lower_bound=1)
_THRESHOLDS = flags.DEFINE_integer("thresholds", 99, "Thresholds of each.", lower_bound=1)
_NMS = flags.DEFINE_bool("nms", False, "Suppress non-maxima first.")
_JSON = flags.DEFINE_string("json", None, "File for the figures; optional.")

_ALL_PICTURES, _ALL_ANNOTATIONS = 200, 1063
_PACKAGES = ("numpy", "scipy")


def soft_map(image: np.ndarray, annotators: np.ndarray, seed: int) -> np.ndarray:
    """Returns a map like a network's, [H, W] float in steps of 1/255.

    Args:
      image: [H, W] float, grey in [0, 1].
      annotators: [K, H, W] bool.
      seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)

    def smooth_noise(sigma_px: float) -> np.ndarray:
        noise = ndimage.gaussian_filter(rng.normal(size=image.shape), sigma_px)
        return noise / noise.std()

    ridges = 4 * ndimage.gaussian_filter(annotators.mean(axis=0), 1.5)
    at = np.indices(image.shape) + np.stack([smooth_noise(6.0), smooth_noise(6.0)])
    ridges = ndimage.map_coordinates(ridges, at, order=1, mode="nearest")
    strength = np.clip(0.7 + 0.5 * smooth_noise(15.0), 0.1, 1.3)
    gradient = ndimage.gaussian_gradient_magnitude(image, 2.0)
    gradient = np.clip(gradient / np.quantile(gradient, 0.99), 0, 1.5)
    return np.rint(255 * np.clip(0.75 * strength * ridges + 0.3 * gradient, 0, 1)) / 255


class Clock:
    """Adds up the processor time of some kinds of calls, and how many there were."""

    def __init__(self) -> None:
        """Starts at nothing."""
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}

    def time(self, kind: str, call: Callable, *arguments: Any) -> Any:
        """Returns what the call returns."""
        start = time.process_time()
        result = call(*arguments)
        self.seconds[kind] = self.seconds.get(kind, 0.0) + time.process_time() - start
        self.calls[kind] = self.calls.get(kind, 0) + 1
        return result

    def milliseconds(self, kind: str) -> float:
        """Returns the mean of one call."""
        return 1e3 * self.seconds[kind] / self.calls[kind]


def measure(clock: Clock, prediction: np.ndarray, annotators: np.ndarray) -> None:
    """Times the parts of `boundary_pr.score_image` on one picture."""
    if _NMS.value:
        prediction = clock.time("suppress", suppress_non_maxima, prediction)
    max_distance_px = boundary_pr.MAX_DIST * np.hypot(*prediction.shape)
    truths = [clock.time("prepare", prepare_truth, drawn, max_distance_px) for drawn in annotators]
    for threshold in boundary_pr.spread_thresholds(_THRESHOLDS.value):
        thinned = clock.time("thin", thin, prediction >= threshold)
        for truth in truths:
            clock.time("match", match_prepared, thinned, truth)


def report(clock: Clock) -> dict:
    """Returns the mean of each kind of call, and what they make of all test pictures."""
    per_call = {f"{kind}_milliseconds": clock.milliseconds(kind) for kind in clock.seconds}
    num = boundary_pr.NUM_THRESHOLDS
    seconds = 1e-3 * (
        num * _ALL_ANNOTATIONS * clock.milliseconds("match")
        + num * _ALL_PICTURES * clock.milliseconds("thin")
        + _ALL_ANNOTATIONS * clock.milliseconds("prepare")
    )
    return {
        **per_call,
        "calls": clock.calls,
        "matchings_per_second": 1e3 / clock.milliseconds("match"),
        "core_minutes_for_bsds": seconds / 60,
        **machine_facts(_PACKAGES),
    }


def main(argv: Sequence[str]) -> None:
    """Measures and prints; raises OSError where the pictures are not."""
    del argv
    folder = os.path.join(_BSDS.value, "images", "test")
    names = sorted(file[:-4] for file in os.listdir(folder) if file.endswith(".jpg"))
    clock = Clock()
    for seed, k in enumerate(np.linspace(0, len(names) - 1, _PICTURES.value).astype(int)):
        with Image.open(os.path.join(folder, f"{names[k]}.jpg")) as picture:
            image = np.asarray(picture.convert("L"), np.float64) / 255
        truth = os.path.join(_BSDS.value, "groundTruth", "test", f"{names[k]}.mat")
        annotators = read_truth(truth).annotators
        measure(clock, soft_map(image, annotators, seed), annotators)
        print(f"{names[k]}: {clock.milliseconds('match'):.1f} ms a matching up to here", flush=True)
    figures = report(clock)
    text = json.dumps(figures, indent=2)
    print(text)
    if _JSON.value:
        with open(_JSON.value, "w", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    flags.mark_flag_as_required("bsds")
    app.run(main)
