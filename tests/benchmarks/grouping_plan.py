"""Which cases the grouping benchmark runs: forms, numbers of points, dimensions, inputs."""

from collections.abc import Sequence
from typing import NamedTuple

SIZES = (1_024, 4_096, 16_384, 65_536, 262_144)
DIMS = (3, 16, 64)
CASES = ("forward", "gradient", "pair_loss", "group")
SCENE_SIDES = {"scene64": 64, "scene128": 128, "scene512": 512}
INPUTS = ("random", *SCENE_SIDES)

_MAIN_DIM = 64
_SIDE_SIZE = 4_096  # where the other dimensions are run
_MOST_POINTS_OF_MANY_LOOPS = 16_384


class Form(NamedTuple):
    """One way to compute a case."""

    case: str
    name: str
    library: str  # tests/benchmarks/<library>_forms.py
    most_points: int  # ever: a matrix N×N, or hours, beyond
    most_points_default: int  # when the numbers of points are not asked for


class Run(NamedTuple):
    """One row of the table: one process."""

    form: Form
    points: int
    dim: int
    input: str
    num_loops: int  # of forward and gradient; 0 elsewhere


FORMS = (
    Form("forward", "tiled", "tensorflow", 262_144, 65_536),
    Form("forward", "tiled_xla", "tensorflow", 262_144, 65_536),
    Form("forward", "plain", "tensorflow", 16_384, 16_384),
    Form("forward", "torch_attention", "torch", 262_144, 65_536),
    Form("gradient", "tiled", "tensorflow", 262_144, 65_536),
    Form("gradient", "tiled_xla", "tensorflow", 262_144, 65_536),
    Form("gradient", "plain", "tensorflow", 16_384, 16_384),
    Form("gradient", "torch", "torch", 16_384, 16_384),
    Form("pair_loss", "tiled", "tensorflow", 262_144, 65_536),
    Form("group", "ours", "tensorflow", 262_144, 262_144),
    Form("group", "loops10", "tensorflow", 65_536, 16_384),
    Form("group", "converged_loops", "tensorflow", 65_536, 16_384),
    Form("group", "sklearn_mean_shift", "sklearn", 16_384, 4_096),
    Form("group", "sklearn_hdbscan", "sklearn", 16_384, 4_096),
)
FORM_NAMES = tuple(dict.fromkeys(form.name for form in FORMS))


def find_form(case: str, name: str) -> Form:
    """Returns the form of a case; raises ValueError if the case has none of that name."""
    for form in FORMS:
        if (form.case, form.name) == (case, name):
            return form
    known = [form.name for form in FORMS if form.case == case]
    raise ValueError(f"the forms of {case!r} are {known}, got {name!r}")


def plan(
    forms: Sequence[Form],
    *,
    sizes: Sequence[int] | None = None,
    dims: Sequence[int] | None = None,
    inputs: Sequence[str] | None = None,
    scene_dim: int = 0,
    num_loops: int | None = None,
) -> list[Run]:
    """Returns the rows to run, in the order of the table.

    Args:
      forms: the forms to run.
      sizes: numbers of points; None for the default, which leaves out what takes minutes a row.
      dims: dimensions of random points; None for the default, 64, and 3 and 16 at 4,096 points.
      inputs: None for random points everywhere, and the scenes for `group`.
      scene_dim: embedding dimension of the scenes; 0 if there are none.
      num_loops: loops of forward and gradient; None for 10 and 5, and 1 above 16,384 points.
    """
    runs = []
    for form in forms:
        most = form.most_points_default if sizes is None else form.most_points
        fitting = [size for size in sizes or SIZES if size <= most]
        for input_name in inputs or (INPUTS if form.case == "group" else INPUTS[:1]):
            if input_name == "random":
                pairs = [(size, dim) for dim in dims or DIMS for size in fitting]
                if dims is None and sizes is None:
                    pairs = [x for x in pairs if x[1] == _MAIN_DIM or x[0] == _SIDE_SIZE]
            else:
                scene_sizes = _scene_sizes(form, input_name, fitting, sizes is None)
                pairs = [(size, scene_dim) for size in scene_sizes if scene_dim]
            runs += [
                Run(form, size, dim, input_name, _loops(form.case, size, num_loops))
                for size, dim in pairs
            ]
    return runs


def _scene_sizes(form: Form, name: str, sizes: Sequence[int], is_default: bool) -> list[int]:
    """Returns the sizes a scene gives; by default all its pixels, for `ours` a 16th too."""
    pixels = SCENE_SIDES[name] ** 2
    fewest = 1
    if is_default:
        fewest = pixels // 16 if form.name == "ours" else pixels
    return [size for size in sizes if fewest <= size <= pixels]


def _loops(case: str, points: int, asked: int | None) -> int:
    if case not in ("forward", "gradient"):
        return 0
    if asked is not None:
        return asked
    if points > _MOST_POINTS_OF_MANY_LOOPS:
        return 1
    return 10 if case == "forward" else 5
