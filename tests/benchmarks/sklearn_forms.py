"""The forms in scikit-learn, with its own defaults where nothing is set."""

import math
from collections.abc import Callable

import numpy as np
from sklearn.cluster import HDBSCAN, MeanShift

from tests.benchmarks.grouping_plan import Run
from tests.benchmarks.measurement import PRODUCT_SIDE

_MIN_CLUSTER_SIZE = 20


def square_product() -> Callable[[], object]:
    """Returns the product that gives the rate."""
    x = np.random.default_rng(0).normal(size=[PRODUCT_SIDE, PRODUCT_SIDE]).astype(np.float32)
    return lambda: x @ x


def prepare(run: Run, embedding: np.ndarray, concentration: float) -> tuple[Callable, Callable]:
    """Returns what `tensorflow_forms.prepare` returns, for the forms of this library."""
    if run.form.name == "sklearn_mean_shift":
        # κ (cos − 1) = −|x − z|² κ / 2: at this distance our kernel has fallen to 1/e.
        method = MeanShift(bandwidth=math.sqrt(2 / concentration), bin_seeding=False)
    else:
        # To take a copy is to become the default; asked for, so that no version warns.
        method = HDBSCAN(min_cluster_size=_MIN_CLUSTER_SIZE, copy=True)

    def facts(labels: np.ndarray) -> dict:
        return {"num_groups": len(np.unique(labels[labels >= 0]))}

    return lambda: method.fit_predict(embedding), facts
