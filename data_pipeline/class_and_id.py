"""Label maps that code class and instance in one number, as Cityscapes' `instanceIds` files do.

There 26003 is the car number 3, and 26 is cars in a group, whose instances nobody told apart; 11 is
building, which has no instances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

# The 19 classes that Cityscapes trains on, in their order; all others are not evaluated there.
CITYSCAPES_CLASSES = {
    **{7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole"},
    **{19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky"},
    **{24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train"},
    **{32: "motorcycle", 33: "bicycle"},
}
# Of these, the classes whose instances are told apart.
CITYSCAPES_THINGS = (24, 25, 26, 27, 28, 31, 32, 33)

_INSTANCES_A_CLASS = 1000


def split_class_and_id(
    labels: np.ndarray, class_index: Mapping[int, int], things: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the instance map and the semantic map of numbers class · 1000 + instance.

    A number below 1000 is a class alone: background of the instance map or, for a class whose
    instances are told apart, a group of them, hence void there. A class without an index is void in
    both maps, since what lies there is unknown or not to be judged.

    Args:
      labels: [H, W] integers; -1 void.
      class_index: from the class a number has to its index, at least 0.
      things: classes whose instances are told apart.

    Returns:
      [H, W] int32 each: the instance map, ids being the numbers from 1000 on, 0 background, -1
      void; and the semantic map of indices, -1 void.
    """
    is_instance = labels >= _INSTANCES_A_CLASS
    number = np.where(is_instance, labels // _INSTANCES_A_CLASS, labels)
    # The last place stays void and stands for every class beyond.
    index_of = np.full(max(class_index) + 2, -1, np.int32)
    index_of[list(class_index)] = list(class_index.values())
    semantic = index_of[np.clip(number, -1, len(index_of) - 1)]
    is_group = ~is_instance & np.isin(number, things)
    instance = np.where(is_instance, labels, 0)
    return np.where(is_group | (semantic == -1), -1, instance).astype(np.int32), semantic
