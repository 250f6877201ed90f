"""How far models see: by their layers, and by what changes when a pixel does."""

import keras
import numpy as np
import pytest

from rpe_tf.models.build import boundary_model, embedding_model, semantic_model
from rpe_tf.models.receptive_field import receptive_field

_SIDE = 320


def test_one_level_by_hand():
    # stem 3×3; nothing below; no block on the way up: 1 pixel to each side.
    model = embedding_model(2, width=8, num_levels=1, num_blocks=1)
    assert receptive_field(model) == (1, 1, ())
    # Stem 1. Down, stride 2: 3×3 "same" sees 0 before, 2 after; 3×3 at stride 2 two more each.
    # Up: nearest neighbour stands a pixel before; two 3×3 see 2 each: 1 + 2 + 1 + 2 before, and
    # 1 + 2 + 2 + 2 after.
    model = embedding_model(2, width=8, num_levels=2, num_blocks=1)
    assert receptive_field(model) == (7, 2, ())


@pytest.mark.parametrize(
    "arguments",
    [
        {"width": 8, "num_levels": 3, "num_blocks": 1},
        {"width": 8, "num_levels": 2, "num_blocks": 2, "output_stride": 2},
        {"width": 8, "num_levels": 4, "num_blocks": 1, "position": "rotation"},
        {"backbone": "resnet14", "width": 8, "output_stride": 8, "norm": "batch"},
        {"backbone": "resnet14", "width": 8, "output_stride": 16, "stem_stride": 2},
    ],
    ids=str,
)
def test_nothing_beyond_the_radius_changes_an_answer(arguments):
    """A row of pixels changes, at each place between two multiples; and how far the answers do."""
    keras.utils.set_random_seed(0)
    model = embedding_model(4, **{"norm": "batch", **arguments})
    seen = receptive_field(model)
    assert seen.beyond == ()
    image = np.random.default_rng(0).integers(0, 256, [1, _SIDE, 32, 3]).astype(np.uint8)
    answer = model(image, training=False).numpy()
    farthest = 0
    for place in range(_SIDE // 2, _SIDE // 2 + seen.multiple_px, 3):
        changed = image.copy()
        changed[:, place] = 255 - changed[:, place]
        difference = np.abs(model(changed, training=False).numpy() - answer).max((0, 2, 3))
        # Of float32: sums in another order are no answer to the change.
        rows = np.flatnonzero(difference > 1e-6)
        farthest = max(farthest, *np.abs(rows - place))
    # Layers late in a net hardly pass on what the corner of their window sees.
    assert 0.7 * seen.radius_px < farthest <= seen.radius_px


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"scaling": "picture"}, "mean and deviation of the picture"),
        ({"position": "channels"}, "the position in the picture"),
        ({"norm": "group"}, "moments of features over the picture"),
    ],
)
def test_what_sees_the_whole_picture_is_told(arguments, words):
    model = embedding_model(4, width=8, num_levels=2, **arguments)
    assert receptive_field(model).beyond == (words,)


def test_heads_count():
    resnet = {"backbone": "resnet14", "width": 8, "norm": "batch"}
    boundary, embedding = (
        receptive_field(model)
        for model in (boundary_model(3, **resnet), embedding_model(4, **resnet))
    )
    assert boundary == embedding
    semantic = receptive_field(semantic_model(4, 3, head_channels=8, **resnet))
    # DeepLab's widest rate at stride 8 is 36 features.
    assert semantic.radius_px == embedding.radius_px + 36 * 8
    assert semantic.beyond == ("mean features of the picture",)
