"""The flags of the loss and of the grouping in it, the same for every task."""

from absl import flags

from rpe_tf.core.grouping_loss import check_map_arguments
from rpe_tf.core.mean_shift import check_grouping_arguments
from rpe_tf.core.pair_loss import NORMALIZERS, check_loss_arguments
from rpe_tf.core.sphere import concentration_from_margin

_MARGIN = flags.DEFINE_float(
    "margin", 0.5, "α, similarity in [0, 1] that two instances may have at no cost (Eq. 2)."
)
_CONCENTRATION = flags.DEFINE_float(
    "concentration", None, "κ > 0 of the mean-shift kernel; by default (3/(1 − margin))² (§4)."
)
_NUM_LOOPS = flags.DEFINE_integer(
    "num_loops", 1, "T, loops of grouping in the loss (§4.2); 5 on digits in the paper.", 0, 50
)
_STEP_SIZE = flags.DEFINE_float("step_size", 1.0, "η in (0, 1], step of mean shift (Eq. 3).")
_LEARN_GROUPING = flags.DEFINE_bool(
    "learn_grouping",
    False,
    "Learn κ, and η where --step_size is below 1, from the values given; the read-out then groups "
    "with the κ learned.",
)
_NUM_PIXELS = flags.DEFINE_integer(
    "num_pixels", 512, "Pixels drawn a picture for the loss (§3), 0: all. Cost: their square.", 0
)
_GROUP_ALL_PIXELS = flags.DEFINE_bool(
    "group_all_pixels", False, "Group all pixels and draw for the loss alone, afresh each loop."
)
_NORMALIZER = flags.DEFINE_enum(
    "normalizer",
    "groups",
    NORMALIZERS,
    "Divisor of the loss: groups² (loss in [0, 1]); pixels; or pairs: those of one instance and "
    "those of two each have a mean of their own.",
)
_POSITIVE_WEIGHT = flags.DEFINE_float(
    "positive_weight", 1.0, "Factor ≥ 0 on the pairs of one instance.", lower_bound=0
)
_INSTANCE_WEIGHTS = flags.DEFINE_bool(
    "instance_weights",
    True,
    "Weigh a pixel by one over its instance's size (Eq. 2), so that every instance counts the "
    "same; else all pixels alike.",
)
_RADIUS = flags.DEFINE_float(
    "radius",
    None,
    "Pixels ≥ 0 within which two instances must differ; by default everywhere. A read-out with "
    "--split_components takes those apart that do not touch.",
    lower_bound=0,
)
_FOREGROUND_ONLY = flags.DEFINE_bool(
    "foreground_only",
    False,
    "Leave the background out of the loss, for tasks that find it by classes.",
)
_EQUAL_DRAW = flags.DEFINE_bool(
    "equal_draw", False, "Draw about as many pixels of every instance, whatever its size."
)
_BORDER_FRACTION = flags.DEFINE_float(
    "border_fraction",
    0.0,
    "Share in [0, 1] of the drawn pixels that lies near another instance.",
    *(0, 1),
)
_BORDER_PX = flags.DEFINE_integer(
    "border_px", 2, "What is near for --border_fraction, in pixels.", lower_bound=1
)
_CROSS_ENTROPY_WEIGHT = flags.DEFINE_float(
    "cross_entropy_weight", 1.0, "Tasks semantic and instances: factor ≥ 0, 0: without.", 0
)
_EMBEDDING_WEIGHT = flags.DEFINE_float(
    "embedding_weight",
    1.0,
    "Tasks semantic and instances: factor ≥ 0 on the embedding loss (§5.4), 0: without.",
    lower_bound=0,
)


def settings_from_flags(names: tuple[str, ...] = ()) -> dict:
    """Returns the arguments of the loss.

    Args:
      names: of a task, `Task.loss`: what it has beside the keyword arguments of
        `rpe_tf.core.grouping_loss.map_grouping_loss`.

    Raises:
      ValueError: if a margin, concentration or step size is outside its range, or no loss is left.
    """
    weights = {
        "cross_entropy_weight": _CROSS_ENTROPY_WEIGHT.value,
        "embedding_weight": _EMBEDDING_WEIGHT.value,
    }
    if names and not any(weights.values()):
        raise ValueError("--cross_entropy_weight and --embedding_weight cannot both be 0")
    if _FOREGROUND_ONLY.value and not names:
        raise ValueError("--foreground_only is for the tasks semantic and instances")
    if _LEARN_GROUPING.value and not _NUM_LOOPS.value:
        raise ValueError("--learn_grouping needs loops to learn from; set --num_loops=1 or more")
    draw = {
        "equal_draw": _EQUAL_DRAW.value,
        "border_fraction": _BORDER_FRACTION.value,
        "border_px": _BORDER_PX.value,
    }
    check_map_arguments(num_pixels=_NUM_PIXELS.value, **draw)
    check_loss_arguments(_MARGIN.value, _NORMALIZER.value, _RADIUS.value)
    concentration = _CONCENTRATION.value
    if concentration is None:
        concentration = concentration_from_margin(_MARGIN.value)
    check_grouping_arguments(concentration, _NUM_LOOPS.value, _STEP_SIZE.value)
    return {
        "margin": _MARGIN.value,
        "num_loops": _NUM_LOOPS.value,
        "concentration": concentration,
        "num_pixels": _NUM_PIXELS.value,
        "step_size": _STEP_SIZE.value,
        "normalizer": _NORMALIZER.value,
        "positive_weight": _POSITIVE_WEIGHT.value,
        "instance_weights": _INSTANCE_WEIGHTS.value,
        "group_all_pixels": _GROUP_ALL_PIXELS.value,
        "radius": _RADIUS.value,
        "foreground_only": _FOREGROUND_ONLY.value,
        "learn_grouping": _LEARN_GROUPING.value,
        **draw,
        **{name: weights[name] for name in names},
    }
