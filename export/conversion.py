"""From a SavedModel to the file of another runtime, proved by that runtime, or nothing at all."""

import contextlib
import functools
import importlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from types import ModuleType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export import parity
from export.expected_answers import TABLES, Expected

RUNTIMES = ("openvino", "onnx", "litert")
PRECISIONS = ("float32", "float16", "int8")

# Outputs that are maps of numbers, of which a share of the pixels may fall the other way.
_MAPS = ("instance", "semantic")
# What follows from the first of these.
_OF_THE_MAPS = (*TABLES, "num_instances", "background_share")
# The loop in which nothing moves any more may be one sooner or later.
_NOT_COMPARED = ("num_loops", "converged")
_LIMITS = parity.Measures(numbers=1e-4, pixels=1e-3, untied=1.0)

# Whose own exceptions say that they cannot do what is asked.
_FOREIGN = ("openvino", "nncf", "tf2onnx", "onnx", "onnxruntime", "tensorflow", "ai_edge_litert")
# Characters of what a runtime says of an error; some print the whole graph.
_LONGEST_REASON = 500

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


class Source(NamedTuple):
    """What is converted: a signature from `image` to named outputs."""

    folder: str  # version folder
    loaded: object  # the SavedModel
    signature: str  # its name
    image_size: tuple[int, int] | None  # height and width in pixels, of one picture; None: any

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns what TensorFlow answers, NumPy to NumPy."""
        outputs = self.loaded.signatures[self.signature](image=tf.constant(inputs["image"]))
        return {name: x.numpy() for name, x in outputs.items()}


class Difference(NamedTuple):
    """How far a runtime's answers to a batch of pictures are from TensorFlow's."""

    batch: tuple[int, ...]  # its shape
    measures: parity.Measures


def runtime_module(name: str) -> ModuleType:
    """Returns the module of one of RUNTIMES: its `convert`, `load`, `FILE_NAME` and `PACKAGES`.

    Raises:
      ValueError: if its packages are not installed.
    """
    try:
        return importlib.import_module(f"export.{name}_conversion")
    except ImportError as error:
        raise ValueError(
            f"conversion to {name} needs packages that are not here ({error}); install them with "
            "pip install 'rpe-tf[convert]'"
        ) from error


def open_source(
    folder: str, runtime: str, signature: str | None, image_size: tuple[int, int] | None
) -> Source:
    """Returns the signature of a SavedModel that a runtime can hold.

    Args:
      folder: version folder.
      runtime: one of RUNTIMES.
      signature: its name; None: serving_default, and `embedding` where LiteRT cannot group.
      image_size: height and width in pixels, for LiteRT alone.

    Raises:
      ValueError: if there is no such signature, or the runtime cannot hold it.
    """
    loaded = tf.saved_model.load(folder)
    groups = "num_loops" in loaded.signatures["serving_default"].structured_outputs
    if signature is None:
        signature = "embedding" if groups and runtime == "litert" else "serving_default"
    if signature not in loaded.signatures:
        raise ValueError(f"{folder} has no signature {signature}: {', '.join(loaded.signatures)}")
    if runtime == "litert" and signature == "serving_default" and groups:
        raise ValueError(
            f"LiteRT cannot group: its lists of tensors need fixed shapes. Convert {folder} with "
            "--signature=embedding and group what it gives, or convert to openvino or onnx"
        )
    if (runtime == "litert") != (image_size is not None):
        raise ValueError(
            "LiteRT needs the size of the pictures, give --image_size=H,W"
            if image_size is None
            else f"--image_size is for litert; {runtime} takes pictures of any size"
        )
    return Source(folder, loaded, signature, image_size)


def write_converted(
    source: Source, runtime: str, path: str, precision: str, pictures: Iterable[np.ndarray] = ()
) -> Run:
    """Returns the runtime's function from named inputs to outputs, of the file written to path.

    Args:
      source: what to convert.
      runtime: one of RUNTIMES.
      path: of the file, `FILE_NAME` of the runtime's module in some folder.
      precision: one of PRECISIONS.
      pictures: [1, H, W, 3] uint8 each, at least one, that the ranges of int8 are taken from.

    Raises:
      ValueError: if the runtime cannot hold the model; it names the op.
    """
    module = runtime_module(runtime)
    inputs = [{"image": x} for x in pictures]
    try:
        if source.signature == "serving_default" and source.image_size is None:
            module.convert(source.folder, path, precision, inputs)
        else:
            with tempfile.TemporaryDirectory() as work:
                _save_alone(source, work)
                module.convert(work, path, precision, inputs)
        return module.load(path)
    except Exception as error:
        # Those of converters and runtimes have no common type.
        if type(error).__module__.split(".")[0] not in _FOREIGN and type(error) is not RuntimeError:
            raise
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise ValueError(
            f"{source.folder} cannot be converted to {runtime}: {reason}; give another --to, or "
            "another --signature"
        ) from error


def compare(source: Source, run: Run, batches: Iterable[np.ndarray]) -> list[Difference]:
    """Returns how far what a runtime answers is from TensorFlow, a row a batch [N, H, W, 3]."""
    rows = []
    for images in batches:
        expected, found = source.run({"image": images}), run({"image": images})
        rows.append(Difference(images.shape, difference(found, expected)))
    return rows


def difference(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> parity.Measures:
    """Returns how far outputs [N, …] are from those expected, the largest of the N pictures.

    Where a picture's map of ids or classes differs, what follows from it is not compared. Infinity
    where an output is missing or of another type, or a map of another shape.
    """
    names = [name for name in expected if name not in _NOT_COMPARED]
    if any(name not in found or found[name].dtype != expected[name].dtype for name in names):
        return parity.Measures(np.inf, np.inf, np.inf)
    maps = [name for name in _MAPS if name in names]
    if any(found[name].shape != expected[name].shape for name in maps):
        return parity.Measures(np.inf, np.inf, np.inf)
    rows = []
    for n in range(len(expected[names[0]])):
        ours, theirs = _one_picture(expected, n), _one_picture(found, n)
        is_equal = all(np.array_equal(ours[name], theirs[name]) for name in maps)
        compared = [name for name in names if is_equal or name not in _OF_THE_MAPS]
        gaps = {name: functools.partial(np.zeros, ours[name].shape) for name in maps}
        rows.append(parity.measure({k: theirs[k] for k in compared}, Expected(ours, gaps)))
    return parity.Measures(*np.max(rows, axis=0).tolist())


def _one_picture(outputs: dict[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """Returns the outputs of a picture of a batch, [1, …], tables without their padding."""
    one = {name: x[n : n + 1] for name, x in outputs.items()}
    if "num_instances" in one:
        num = int(one["num_instances"][0])
        one.update({name: one[name][:, :num] for name in TABLES if name in one})
    return one


def check_equal(differences: list[Difference], what: str) -> None:
    """Raises ArithmeticError, which names the differences, unless all are within the limits."""
    wrong = [row for row in differences if not row.measures.is_within(_LIMITS)]
    if wrong:
        rows = "; ".join(f"{_sizes(row.batch)}: {format_measures(row.measures)}" for row in wrong)
        raise ArithmeticError(
            f"{what} does not answer as TensorFlow on {len(wrong)} of {len(differences)} batches "
            f"({rows}); allowed are {format_measures(_LIMITS)}. Nothing was written. Where "
            "pictures have no clear groups rounding may decide: compare on your own with --images"
        )


def format_measures(measures: parity.Measures) -> str:
    """Returns the largest differences in words."""
    return f"{measures.numbers:.1e} in numbers, {measures.pixels:.3%} of the pixels"


def format_differences(differences: list[Difference]) -> str:
    """Returns a line a batch."""
    return "\n".join(f"{_sizes(x.batch):>14}  {format_measures(x.measures)}" for x in differences)


def versions(runtime: str) -> dict[str, str]:
    """Returns the versions of what a conversion used."""
    names = ("tensorflow", *runtime_module(runtime).PACKAGES)
    return {name: metadata.version(name) for name in names}


@contextlib.contextmanager
def new_folder(folder: str) -> Iterator[str]:
    """Yields a path to write to, which then is renamed to folder as a whole, or deleted on errors.

    Raises:
      ValueError: if there is something in folder already.
    """
    folder = folder.rstrip("/")
    if os.path.exists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise ValueError(f"{folder} is there already; choose another --output_dir")
    temporary = f"{folder}.unfinished-{uuid.uuid4().hex[:8]}"
    os.makedirs(temporary)
    try:
        yield temporary
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _save_alone(source: Source, folder: str) -> None:
    """Writes the signature as serving_default, the only one converters look for."""
    function = source.loaded.signatures[source.signature]
    size = source.image_size
    shape = [None, None, None, 3] if size is None else [1, *size, 3]
    module = tf.Module()
    module.loaded = source.loaded
    spec = tf.TensorSpec(shape, tf.uint8, name="image")
    module.serve = tf.function(lambda image: function(image=image), input_signature=[spec])
    tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(str(side) for side in shape[:3])
