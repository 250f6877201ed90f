"""Boundary maps by scikit-image's Canny, to score beside a trained model.

Example:
  python tests/benchmarks/canny_boundaries.py --images=bsds500/images/test --output_dir=canny
  python -m rpe_tf.metrics.evaluate_main --task=boundary --predictions=canny \
    --ground_truth=bsds500/groundTruth/test --json=canny.json
"""

import argparse
import os
import pathlib
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image
from skimage import feature

_NUM_LEVELS = 50
_LOW_OVER_HIGH = 0.4  # The usual ratio of the two thresholds (Matlab's default).


def canny_map(grey: np.ndarray, sigma: float) -> np.ndarray:
    """The highest upper threshold, in [0, 1], at which Canny keeps each pixel; 0: at none.

    grey: [H, W] float in [0, 1]. One run a threshold, since hysteresis depends on it.
    """
    strongest = np.zeros(grey.shape)
    # Of Sobel's magnitude; at 1 hardly any pixel of a photograph is left.
    for high in np.linspace(0.02, 1.0, _NUM_LEVELS):
        kept = feature.canny(
            grey, sigma=sigma, low_threshold=_LOW_OVER_HIGH * high, high_threshold=high
        )
        strongest[kept] = high
    return strongest


def _write(path: pathlib.Path, output_dir: pathlib.Path, sigma: float) -> None:
    grey = np.asarray(Image.open(path).convert("L"), float) / 255
    levels = np.rint(255 * canny_map(grey, sigma)).astype(np.uint8)
    Image.fromarray(levels).save(output_dir / f"{path.stem}.png")


def main() -> None:
    """Writes a map for every picture of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=pathlib.Path, required=True, help="folder of .jpg")
    parser.add_argument("--output_dir", type=pathlib.Path, required=True)
    parser.add_argument("--sigma", type=float, default=2.0, help="of the smoothing, in pixels")
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    paths = sorted(arguments.images.glob("*.jpg"))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(_write, p, arguments.output_dir, arguments.sigma) for p in paths]
        for job in jobs:
            job.result()
    print(f"Wrote {len(paths)} maps to {arguments.output_dir}")


if __name__ == "__main__":
    main()
