"""Who may import whom, and what every file must have: read from the source, nothing imported."""

import ast
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_OURS = ("rpe_tf", "data_pipeline", "export", "train_main", "tests")

# What of the metrics reads files or draws, and what it needs for that beside NumPy and SciPy.
_ON_FILES = {
    "boundary_files": {"PIL"},
    "boundary_pictures": {"PIL"},
    "boundary_plot": {"matplotlib"},
    "coco_ap": {"faster_coco_eval"},
    "coco_files": {"faster_coco_eval"},
    "label_png": {"PIL", "tifffile"},
    "object_pictures": {"PIL"},
    "picture_sheets": {"PIL"},
    "picture_pool": {"tqdm"},
    "score_report": {"PIL", "matplotlib"},
    "evaluate_main": {"absl"},
}
_BATCH = ("main", "parts", "pictures", "results", "run", "tiles")
# What of ours each part may import. The longest name that fits a file counts.
_ALLOWED = {
    "rpe_tf": {"rpe_tf.saved_model"},
    "rpe_tf.core": {"rpe_tf.core"},
    "rpe_tf.metrics": {"rpe_tf.metrics"},
    **{f"rpe_tf.metrics.{name}": {"rpe_tf.metrics"} for name in _ON_FILES},
    "rpe_tf.metrics.score_report": {"rpe_tf.metrics", "rpe_tf.html_page"},
    "rpe_tf.metrics.boundary_files": {"rpe_tf.metrics", "data_pipeline.mat_structure"},
    "rpe_tf.metrics.picture_sheets": {"rpe_tf.metrics", "rpe_tf.drawing"},  # These draw.
    "rpe_tf.metrics.object_pictures": {"rpe_tf.metrics", "rpe_tf.drawing"},
    "rpe_tf.models": {"rpe_tf.core", "rpe_tf.models"},
    "rpe_tf.inference": {"rpe_tf.core", "rpe_tf.inference"},
    "rpe_tf.tasks": {
        *("rpe_tf.core", "rpe_tf.models", "rpe_tf.inference", "rpe_tf.metrics"),
        *("rpe_tf.drawing", "rpe_tf.tasks"),
    },
    "rpe_tf.train_step": set(),
    "rpe_tf.training": {"rpe_tf.train_step"},
    "rpe_tf.training_flags": {"rpe_tf.train_step"},
    "rpe_tf.interruption": set(),
    "rpe_tf.memory_estimate": set(),
    "rpe_tf.tracing": set(),
    "rpe_tf.doctor_main": {"rpe_tf.memory_estimate"},
    "rpe_tf.checkpoints": {"rpe_tf.train_step"},
    "rpe_tf.best_weights": {"rpe_tf.checkpoints", "rpe_tf.run_folder"},
    "rpe_tf.learner": {
        *("rpe_tf.checkpoints", "rpe_tf.initialization", "rpe_tf.optimizers", "rpe_tf.train_step"),
        *("rpe_tf.models", "rpe_tf.tasks"),
    },
    "rpe_tf.optimizers": set(),
    "rpe_tf.strategies": set(),
    "rpe_tf.run_folder": set(),
    "rpe_tf.initialization": {
        *("rpe_tf.checkpoints", "rpe_tf.run_folder", "rpe_tf.saved_model", "rpe_tf.models"),
    },
    "rpe_tf.drawing": set(),
    "rpe_tf.html_page": set(),
    "rpe_tf.report": {
        *("rpe_tf.html_page", "rpe_tf.metrics", "rpe_tf.report_pictures", "rpe_tf.run_folder"),
    },
    "rpe_tf.report_pictures": {  # Labelled pictures, as the run's model sees them.
        *("rpe_tf.checkpoints", "rpe_tf.core", "rpe_tf.drawing", "rpe_tf.html_page"),
        *("rpe_tf.metrics", "rpe_tf.run_folder", "rpe_tf.tasks"),
        "data_pipeline.input_pipeline",
    },
    "rpe_tf.report_main": {
        *("rpe_tf.report", "data_pipeline.command_line", "data_pipeline.shards"),
    },
    "rpe_tf.saved_model": set(),
    "rpe_tf.reporter": {"rpe_tf.run_folder", "rpe_tf.training"},
    "rpe_tf.figures": {"rpe_tf", "data_pipeline"},
    "data_pipeline": {"data_pipeline"},
    "data_pipeline.inspect_main": {"data_pipeline", "rpe_tf.drawing"},  # It draws shards.
    "export": {
        *("rpe_tf", "export"),
        *("data_pipeline.command_line", "data_pipeline.picture_files"),
        # Of labelled pictures.
        *("data_pipeline.input_pipeline", "data_pipeline.shards", "data_pipeline.damage"),
    },
    # Batches run the way conversions do, and read and write shards.
    **{f"export.batch_{name}": {"rpe_tf", "export", "data_pipeline"} for name in _BATCH},
    "train_main": {"rpe_tf", "data_pipeline"},
}
# What of others these may import, beside the standard library.
_OTHERS = {
    "rpe_tf.core": {"tensorflow"},
    "rpe_tf.metrics": {"numpy", "scipy"},
    **{f"rpe_tf.metrics.{name}": {"numpy", "scipy", *own} for name, own in _ON_FILES.items()},
}
# Nobody imports these, except a leaf its own leaves.
_CONVERTERS = ("folders", "mask_files", "bsds", "coco", "mnist", "voc")
_LEAVES = (
    *("export", "rpe_tf.figures", "tests", "train_main", "data_pipeline.make_digits"),
    *(f"data_pipeline.convert_{name}" for name in _CONVERTERS),
)
_MAX_LINES = 350
_NO_NAMES = {"utils", "util", "common", "misc", "helpers", "helper"}


def modules(root):
    """Path of every source file by dotted name, tests left out."""
    paths = [root / "train_main.py"]
    for folder in ("rpe_tf", "data_pipeline", "export"):
        paths += sorted((root / folder).rglob("*.py"))
    names = {}
    for path in paths:
        parts = path.relative_to(root).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def is_within(name, package):
    return name == package or name.startswith(f"{package}.")


def imports(path, known):
    """Dotted names that a file imports, wherever in it; a relative import begins with a dot."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:  # `from rpe_tf import training` imports a module
                full = f"{base}.{alias.name}"
                found.add(full if full in known else base)
    return found


def broken_arrows(root):
    """One line an import that is not allowed."""
    known = modules(root)
    lines = []
    for name, path in known.items():
        part = max((p for p in _ALLOWED if is_within(name, p)), key=len, default=None)
        # A new file directly in rpe_tf needs its own arrows above.
        if part is None or (part == "rpe_tf" and name != "rpe_tf"):
            lines.append(f"{name}: no arrows are stated for it")
            continue
        for target in sorted(imports(path, known)):
            if not is_allowed(name, part, target):
                lines.append(f"{name} imports {target}")
    return lines


def is_allowed(name, part, target):
    if target.startswith("."):
        return False
    top = target.split(".")[0]
    if top in _OURS:
        leaf = next((x for x in _LEAVES if is_within(target, x)), None)
        if target.endswith("_main") or (leaf is not None and not is_within(name, leaf)):
            return False
        return any(is_within(target, x) for x in _ALLOWED[part])
    others = _OTHERS.get(part)
    return others is None or top in others or top in _stdlib()


def _stdlib():
    import sys

    return sys.stdlib_module_names


def faults_of_files(root):
    """One line a file that is too long, badly named, or has a public name without docstring."""
    lines = []
    for name, path in modules(root).items():
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > _MAX_LINES:
            lines.append(f"{name} has {len(text.splitlines())} lines, more than {_MAX_LINES}")
        if _NO_NAMES & set(name.split(".")[-1].split("_")):
            lines.append(f"{name} is a name for anything")
        lines += [f"{name}.{x} has no docstring" for x in without_docstring(ast.parse(text))]
    return lines


def without_docstring(tree):
    """Public functions and classes, and public methods of these, that have none."""
    for node in tree.body:
        is_class = isinstance(node, ast.ClassDef)
        if not is_class and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield node.name
        if is_class:
            yield from (f"{node.name}.{x}" for x in without_docstring(node))


def test_imports_follow_the_arrows():
    assert broken_arrows(_ROOT) == []


def test_files_are_short_named_and_documented():
    assert faults_of_files(_ROOT) == []


@pytest.fixture
def tree(tmp_path):
    """A small tree that keeps all rules; a test writes one bad file into it."""

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        return tmp_path

    write("train_main.py", "import json\nfrom rpe_tf import training\n")
    write("rpe_tf/__init__.py", "")
    write("rpe_tf/training.py", "import tensorflow\n")
    write("rpe_tf/core/__init__.py", "")
    write("rpe_tf/core/sphere.py", "import math\nimport tensorflow as tf\n")
    write("data_pipeline/shards.py", "import numpy\n")
    write("export/export_main.py", "from rpe_tf import training\n")
    return write


@pytest.mark.parametrize(
    "path, text, target",
    [
        ("rpe_tf/core/a.py", "import numpy as np", "numpy"),
        ("rpe_tf/core/a.py", "import keras", "keras"),
        ("rpe_tf/core/a.py", "from rpe_tf.models import build", "rpe_tf.models"),
        ("rpe_tf/metrics/a.py", "def f():\n    import tensorflow.keras", "tensorflow.keras"),
        ("rpe_tf/metrics/a.py", "from rpe_tf.core.sphere import x", "rpe_tf.core.sphere"),
        ("rpe_tf/metrics/a.py", "import PIL", "PIL"),
        ("rpe_tf/metrics/boundary_files.py", "import tensorflow", "tensorflow"),
        ("rpe_tf/metrics/evaluate_main.py", "import data_pipeline.shards", "data_pipeline.shards"),
        ("rpe_tf/training.py", "from rpe_tf import training, core", "rpe_tf.core"),
        ("rpe_tf/models/a.py", "import rpe_tf.inference.grouping", "rpe_tf.inference.grouping"),
        ("rpe_tf/tasks/a.py", "from rpe_tf.training import train", "rpe_tf.training"),
        ("data_pipeline/a.py", "from rpe_tf.core.sphere import x", "rpe_tf.core.sphere"),
        ("data_pipeline/a.py", "from export import x", "export"),
        ("data_pipeline/a.py", "from data_pipeline import make_digits", "data_pipeline.make_"),
        ("data_pipeline/make_digits.py", "import train_main", "train_main"),
        ("export/a.py", "from export import export_main", "export.export_main"),
        ("export/a.py", "from data_pipeline.schema import x", "data_pipeline.schema"),
        ("export/a.py", "import tests.oracles", "tests.oracles"),
        ("train_main.py", "from rpe_tf.figures.sphere import x", "rpe_tf.figures.sphere"),
        ("rpe_tf/models/a.py", "from ..core import sphere", "..core"),
    ],
)
def test_broken_arrows_finds_a_forbidden_import(tree, path, text, target):
    assert broken_arrows(tree("rpe_tf/core/sphere.py", "import math\n")) == []
    tree("data_pipeline/make_digits.py", "")
    found = broken_arrows(tree(path, text))
    assert any(f"imports {target}" in line for line in found)


def test_broken_arrows_finds_a_file_without_arrows(tree):
    assert broken_arrows(tree("rpe_tf/new.py", "")) == ["rpe_tf.new: no arrows are stated for it"]


@pytest.mark.parametrize(
    "path, text, fault",
    [
        ("rpe_tf/core/a.py", "x = 1\n" * 351, "has 351 lines"),
        ("export/file_utils.py", "", "is a name for anything"),
        ("rpe_tf/core/common.py", "", "is a name for anything"),
        ("rpe_tf/core/a.py", "def f():\n    return 1\n", "a.f has no docstring"),
        ("rpe_tf/core/a.py", "class A:\n    x = 1\n", "a.A has no docstring"),
        ("rpe_tf/core/a.py", 'class A:\n    """A."""\n    def f(self): ...\n', "a.A.f has no"),
    ],
)
def test_faults_of_files_finds_each(tree, path, text, fault):
    assert faults_of_files(tree("rpe_tf/core/b.py", "def _f(): ...\n" + "x = 1\n" * 349)) == []
    found = faults_of_files(tree(path, text))
    assert len(found) == 1
    assert fault in found[0]
