"""Converts an exported model for another runtime, and has that runtime prove it on pictures.

float32 must answer as TensorFlow, or nothing is written. float16 stores the weights in 16 bits;
int8 computes the convolutions in 8 bits, and normalisation, grouping and read-out as before: both
print what they cost, in the scores of labelled pictures if there are any.

Example:
  python -m export.convert_main --model=models/digits --to=onnx --output_dir=models/digits_onnx
  python -m export.convert_main --model=models/digits --to=openvino --precision=int8 \
    --calibration_shards='shards/train-*' --eval_shards='shards/val-*' --output_dir=models/int8
"""

import json
import os
from collections.abc import Iterator

import numpy as np
from absl import flags

from data_pipeline import command_line, damage, input_pipeline, shards
from data_pipeline.picture_files import read_picture
from export import conversion, conversion_scores
from export.fixed_size import fit_example
from export.parity import smooth_pictures
from export.pictures import list_pictures
from export.version_folder import folder_size
from rpe_tf.saved_model import find_version

_MODEL = flags.DEFINE_string(
    "model", None, "Folder of an exported model (its newest version) or of one version."
)
_TO = flags.DEFINE_enum("to", None, conversion.RUNTIMES, "The runtime to convert for.")
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder for the model; must be absent or empty."
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    conversion.PRECISIONS,
    "float16: weights stored in 16 bits; int8: convolutions computed in 8 bits.",
)
_SIGNATURE = flags.DEFINE_enum(
    "signature",
    None,
    ["serving_default", "embedding"],
    "What of the model; by default serving_default, of models that group embedding for litert, "
    "which cannot group.",
)
_IMAGE_SIZE = flags.DEFINE_list(
    "image_size", None, "Height and width in pixels, ≥ 1 each: for litert, one picture at a time."
)
_CALIBRATION_SHARDS = flags.DEFINE_string(
    "calibration_shards", None, "Glob of shards whose pictures set the ranges of int8."
)
_NUM_CALIBRATION = flags.DEFINE_integer(
    "num_calibration", 32, "Pictures for that at the most.", lower_bound=1
)
_EVAL_SHARDS = flags.DEFINE_string(
    "eval_shards", None, "Glob of labelled shards to print the scores on, before and after."
)
_NUM_EVAL = flags.DEFINE_integer("num_eval", 200, "Pictures for that at the most.", lower_bound=1)
_IMAGES = flags.DEFINE_string(
    "images", None, "Pictures to compare on, in place of random ones: a file, a folder or a glob."
)


def main(argv: list[str]) -> None:
    """Converts and compares; raises ValueError, OSError or ArithmeticError if something fails."""
    del argv
    runtime, precision = _TO.value, _PRECISION.value
    if (precision == "int8") != bool(_CALIBRATION_SHARDS.value):
        raise ValueError("--calibration_shards goes with --precision=int8, which needs it")
    module = conversion.runtime_module(runtime)
    source = conversion.open_source(
        find_version(_MODEL.value), runtime, _SIGNATURE.value, _image_size()
    )
    with conversion.new_folder(_OUTPUT_DIR.value) as folder:
        path = os.path.join(folder, module.FILE_NAME)
        pictures = _calibration_pictures() if precision == "int8" else []
        run = conversion.write_converted(source, runtime, path, precision, pictures)
        size = folder_size(folder)
        differences = conversion.compare(source, run, _batches(source))
        print(f"{runtime}, {precision}, beside TensorFlow:")
        print(conversion.format_differences(differences))
        if precision == "float32":
            conversion.check_equal(differences, f"{_MODEL.value} in {runtime}")
        record = _record(source, differences, size)
        if _EVAL_SHARDS.value:
            record["scores"] = _print_scores(source, run)
        with open(os.path.join(folder, "conversion.json"), "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2, ensure_ascii=False)
            file.write("\n")
    print(f"Wrote {_OUTPUT_DIR.value} ({size / 1e6:.1f} MB), {source.signature}.")


def _image_size() -> tuple[int, int] | None:
    if _IMAGE_SIZE.value is None:
        return None
    sides = [int(x) for x in _IMAGE_SIZE.value if x.strip().isdecimal()]
    if len(sides) != 2 or len(_IMAGE_SIZE.value) != 2 or min(sides) < 1:
        raise ValueError(f"--image_size must be HEIGHT,WIDTH, got {','.join(_IMAGE_SIZE.value)}")
    return sides[0], sides[1]


def _batches(source: conversion.Source) -> list[np.ndarray]:
    """Returns what to compare on: two sizes, a batch and a single picture, or those given."""
    if _IMAGES.value:
        images = [read_picture(path)[np.newaxis] for path in list_pictures(_IMAGES.value)]
        return [fit_example({"image": x}, source.image_size)["image"] for x in images]
    if source.image_size:
        return [smooth_pictures(seed, 1, *source.image_size) for seed in (0, 1)]
    return [smooth_pictures(0, 2, 61, 83), smooth_pictures(1, 1, 128, 96)]


def _examples(pattern: str, most: int, title: str, **options: bool) -> Iterator[dict]:
    """Yields the first pictures of shards as NumPy batches of one, and shows progress."""
    paths = shards.list_shards(pattern)
    most = min(most, sum(shards.count_examples(paths)))
    size = _image_size()
    with damage.named(paths), command_line.progress_bar(most, title, "pictures") as bar:
        for example in input_pipeline.evaluation_dataset(paths, **options).take(most):
            yield fit_example({name: x.numpy() for name, x in example.items()}, size)
            bar.update(1)


def _calibration_pictures() -> Iterator[np.ndarray]:
    arguments = (_CALIBRATION_SHARDS.value, _NUM_CALIBRATION.value, "calibrating")
    return (example["image"] for example in _examples(*arguments))


def _print_scores(source: conversion.Source, run: conversion.Run) -> dict:
    """Returns the scores before and after, ready for JSON."""
    info = _model_info(source)
    runs = {"tensorflow": source.run, "converted": run}
    if source.signature == "embedding":
        runs = {
            name: conversion_scores.grouped(info, source.loaded, one) for name, one in runs.items()
        }
    boundaries = {"with_boundaries": True} if info["task"] == "boundary" else {}
    examples = _examples(_EVAL_SHARDS.value, _NUM_EVAL.value, "scoring", **boundaries)
    scored = conversion_scores.score_each(info, runs, examples)
    print(conversion_scores.format_scores(*scored.values()))
    return {name: one._asdict() for name, one in scored.items()}


def _record(source: conversion.Source, differences: list[conversion.Difference], size: int) -> dict:
    """Returns what stands in conversion.json."""
    return {
        "source": os.path.abspath(source.folder),
        "task": _model_info(source)["task"],
        "signature": source.signature,
        "runtime": _TO.value,
        "precision": _PRECISION.value,
        "image_size": source.image_size,
        "bytes": size,
        "versions": conversion.versions(_TO.value),
        "calibration": {"shards": _CALIBRATION_SHARDS.value, "num": _NUM_CALIBRATION.value}
        if _CALIBRATION_SHARDS.value
        else None,
        "differences": [
            {"batch": list(x.batch), "numbers": x.measures.numbers, "pixels": x.measures.pixels}
            for x in differences
        ],
    }


def _model_info(source: conversion.Source) -> dict:
    path = os.path.join(source.folder, "model_info.json")
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["model", "to", "output_dir"])
    command_line.run(main)


if __name__ == "__main__":
    run()
