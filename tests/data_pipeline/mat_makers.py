"""Small .mat files as the data sets have them."""

import numpy as np
import scipy.io


def write_bsds(path, segmentations, boundaries):
    """A cell of one struct an annotator."""
    cell = np.empty((1, len(segmentations)), object)
    for k, (segmentation, boundary) in enumerate(zip(segmentations, boundaries, strict=True)):
        cell[0, k] = {"Segmentation": segmentation, "Boundaries": boundary}
    scipy.io.savemat(path, {"groundTruth": cell})


def write_sbd(path, segmentation, categories):
    """The struct of an object file."""
    struct = {"Segmentation": segmentation, "Categories": np.array([categories]).T}
    scipy.io.savemat(path, {"GTinst": struct})
