"""Examples cut and padded to one size, for runtimes that take no other."""

import numpy as np

# Added around a picture: void, of boundaries none.
_FILL = {"instance": -1, "semantic": -1, "annotator_boundary": False}


def fit_example(
    example: dict[str, np.ndarray], size: tuple[int, int] | None
) -> dict[str, np.ndarray]:
    """Returns an example whose maps are of one size: cut right and below, or padded there.

    Pictures are padded with their last row and column, label maps with void.

    Args:
      example: `image` [B, H, W, 3] and whatever `evaluation_dataset` gives beside it.
      size: height and width in pixels, ≥ 1 each; None: the example as it is.
    """
    if size is None:
        return example
    height, width = size
    fitted = dict(example)
    for name, value in example.items():
        if name != "image" and name not in _FILL:
            continue
        axis = 1 if name == "image" else value.ndim - 2
        cut = value[(slice(None),) * axis + (slice(height), slice(width))]
        missing = [(0, 0)] * value.ndim
        missing[axis] = (0, height - cut.shape[axis])
        missing[axis + 1] = (0, width - cut.shape[axis + 1])
        if name == "image":
            fitted[name] = np.pad(cut, missing, mode="edge")
        else:
            fitted[name] = np.pad(cut, missing, constant_values=_FILL[name])
    return fitted
