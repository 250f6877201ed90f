"""The flags of the read-out; each task takes those of them that it has."""

from absl import flags

from rpe_tf.core.mean_shift import check_grouping_arguments
from rpe_tf.inference.label_map import BACKGROUNDS
from rpe_tf.inference.picture_scale import check_scales, only_scale

_CONCENTRATIONS = flags.DEFINE_list(
    "concentrations",
    [],
    "Task proposals: κ > 0 each, whose instances are pooled (§5.3); by default the read-out's own.",
)
_MODE_COSINE = flags.DEFINE_float(
    "mode_cosine", 0.95, "Cosine in [−1, 1] within which grouped points are one mode.", -1, 1
)
_MAX_LOOPS = flags.DEFINE_integer("max_loops", 50, "Loops of grouping at the most.", lower_bound=0)
_MIN_AREA = flags.DEFINE_integer("min_area", 10, "Pixels an instance must have.", lower_bound=1)
_MIN_SCORE = flags.DEFINE_float(
    "min_score",
    None,
    "Score an instance must have, else it becomes background; by default any. export.tune_main "
    "finds one.",
)
_BACKGROUND = flags.DEFINE_enum(
    "background", "border", BACKGROUNDS, "Which group is background: largest at the border, …"
)
_SPLIT_COMPONENTS = flags.DEFINE_bool(
    "split_components",
    True,
    "Task instances: parts of a group that do not touch are instances of their own, so that two "
    "far apart may share an embedding.",
)
_TEST_SCALES = flags.DEFINE_list(
    "test_scales",
    ["1"],
    "Factors > 0 of a picture's size at which the net reads it, to answer at its own size. Task "
    "boundary: the maps of all are averaged; proposals and instances: one, export.tune_main finds "
    "a better.",
)


def settings_from_flags(names: tuple[str, ...], concentration: float) -> dict:
    """Returns the read-out arguments of these names.

    Args:
      names: of a task, `Task.read_out`.
      concentration: κ > 0 of the loss, the read-out's as well.

    Raises:
      ValueError: if a scale or concentration is not positive, or instances have several scales.
    """
    concentrations = [float(x) for x in _CONCENTRATIONS.value]
    for one in concentrations:
        check_grouping_arguments(one, 0, 1.0)
    settings = {
        "concentration": concentration,
        "concentrations": concentrations,
        "mode_cosine": _MODE_COSINE.value,
        "max_loops": _MAX_LOOPS.value,
        "min_area": _MIN_AREA.value,
        "min_score": _MIN_SCORE.value,
        "background": _BACKGROUND.value,
        "split_components": _SPLIT_COMPONENTS.value,
        "scales": [float(scale) for scale in _TEST_SCALES.value],
    }
    check_scales(settings["scales"])
    if "concentration" in names:
        only_scale(settings)
    return {name: settings[name] for name in names}
