"""Random label maps of discs, the same with every NumPy; what reference figures were taken of."""

import numpy as np

_SIDE_PX = 96


def disc_scene(seed, num_discs=40):
    """True and predicted ids [96, 96]: discs moved, resized, left out and made up at random."""
    # The legacy generator's stream is frozen, that of default_rng is not.
    random = np.random.RandomState(seed)
    rows, columns = np.mgrid[:_SIDE_PX, :_SIDE_PX]
    truth, predicted = (np.zeros((_SIDE_PX, _SIDE_PX), np.int32) for _ in range(2))
    for k in range(1, num_discs + 1):
        y, x, radius = random.randint(_SIDE_PX), random.randint(_SIDE_PX), random.randint(3, 11)
        dy, dx, growth = random.randint(-2, 3), random.randint(-2, 3), random.randint(-1, 2)
        kind = random.randint(8)
        if kind != 0:
            truth[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = k
        if kind != 1:
            distance = (rows - y - dy) ** 2 + (columns - x - dx) ** 2
            predicted[distance <= (radius + growth) ** 2] = num_discs + 1 - k
    return truth, predicted
