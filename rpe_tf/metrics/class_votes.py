"""The classes of instances by a class map: the most frequent one on each."""

import numpy as np


def vote_classes(instance: np.ndarray, semantic: np.ndarray) -> np.ndarray:
    """Returns the most frequent class > 0 on each id of an instance map.

    Args:
      instance: [H, W] integer ids; <= 0 is no instance.
      semantic: [H, W] integer classes; background and void, <= 0, have no vote.

    Returns:
      [largest id + 1] int64, the class of id k at k; 0 where an id has none, and at 0. Of classes
      with equal votes the lowest.
    """
    counted = (instance > 0) & (semantic > 0)
    votes, counts = np.unique(
        np.stack([instance[counted], semantic[counted]]), axis=1, return_counts=True
    )
    classes = np.zeros(max(int(instance.max(initial=0)), 0) + 1, np.int64)
    # From the fewest votes to the most, so that the most frequent stays; of equal ones the lowest.
    order = np.lexsort((-votes[1], counts))
    classes[votes[0][order]] = votes[1][order]
    return classes
