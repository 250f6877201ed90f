"""Small pictures of noise, labelled by three stripes, as shards for trainings in tests."""

import numpy as np

from data_pipeline import conversion
from data_pipeline.labelled_picture import LabelledPicture, Source

_SIDE_PX = 30


def write_stripes(folder, num_pictures=12, num_shards=2):
    """Writes pictures p_0, p_1, … of the split train."""
    sources = [Source(f"p_{k}", details=k) for k in range(num_pictures)]
    conversion.write_split(_picture, sources, str(folder), "train", num_shards=num_shards)


def _picture(source):
    rng = np.random.default_rng(source.details)
    image = rng.integers(0, 256, (_SIDE_PX, _SIDE_PX, 3), np.uint8)
    rows = np.arange(_SIDE_PX)[:, np.newaxis] // 10
    return LabelledPicture(image, np.broadcast_to(rows, image.shape[:2]).astype(int))
