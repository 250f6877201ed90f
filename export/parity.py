"""Whether an export answers as the checkpoint it was made of, in all outputs of all signatures."""

import json
import os
import subprocess
import sys
import tempfile
from typing import NamedTuple

import numpy as np
from PIL import Image

from export import isolated_model
from export.expected_answers import TABLES, Expected, expected_answers, parameter_cases
from export.trained_run import TrainedRun
from rpe_tf.metrics.contingency import contingency

PACKAGES = ("rpe_tf", "data_pipeline", "export", "train_main")
# Of a pixel whose second choice is no farther than this, float32 rounding may choose either.
_TIED = 1e-4
# What follows from the map of ids, pixel by pixel, and so is compared where that is equal.
_OF_THE_MAP = (*TABLES, "background_share")
# Of encoded pictures, by the side of the batch that they must be.
_SIDES = ((1, "height"), (2, "width"))


class Measures(NamedTuple):
    """How far two sets of answers are apart, or may be."""

    # Largest absolute difference of what is no map of ids or classes; of floats above 1 in parts of
    # the largest, of an 8-bit PNG beyond its rounding.
    numbers: float
    pixels: float  # largest share of the pixels of a batch in which such a map differs
    untied: float  # the same, of those pixels for which rounding cannot be the reason

    def is_within(self, limits: "Measures") -> bool:
        """Returns whether none exceeds its limit; NaN does."""
        return all(x <= limit for x, limit in zip(self, limits, strict=True))


LIMITS = Measures(numbers=1e-4, pixels=1e-3, untied=0.0)


class Difference(NamedTuple):
    """How far the answers of one signature to one batch of pictures are apart."""

    case: str  # SIGNATURE, or SIGNATURE:LABEL of the parameters it was asked with
    batch: str
    measures: Measures


def smooth_pictures(seed: int, num: int, height: int, width: int) -> np.ndarray:
    """Returns [num, height, width, 3] uint8 of coloured blobs about 16 pixels wide."""
    rng = np.random.default_rng(seed)
    cells = (max(height // 16, 2), max(width // 16, 2))
    noise = rng.integers(0, 256, [num, *cells, 3], dtype=np.uint8)
    enlarged = [Image.fromarray(x).resize((width, height), Image.Resampling.BICUBIC) for x in noise]
    return np.stack([np.asarray(x) for x in enlarged])


def compare(run: TrainedRun, folder: str, batches: dict[str, np.ndarray]) -> list[Difference]:
    """Returns the differences between checkpoint and export: a row a signature and batch.

    Signatures with parameters are asked twice, by `expected_answers.parameter_cases`.

    Args:
      run: the restored run.
      folder: version folder of the export.
      batches: [N, H, W, 3] uint8 by name.

    Raises:
      ChildProcessError: as `export_answers`.
      ValueError: if the export serves other outputs than one of such a run.
    """
    chosen = parameter_cases(run)
    found = export_answers(folder, list(batches.values()), chosen)
    rows = []
    for answers, (name, images) in zip(found, batches.items(), strict=True):
        together = alone = expected_answers(run, images, answers.get("embedding", {}), chosen)
        if len(images) > 1:
            alone = expected_answers(run, images, answers.get("embedding:alone", {}), chosen)
        _check_outputs(folder, run.settings["task"], answers, together)
        for case, outputs in answers.items():
            wanted = (alone if _is_alone(case) else together)[_key(case)]
            rows.append(Difference(case, name, measure(outputs, wanted, images.shape)))
    return sorted(rows, key=lambda row: row.case)


def export_answers(
    folder: str, batches: list[np.ndarray], chosen: dict[str, dict[str, list]]
) -> list[dict[str, dict[str, np.ndarray]]]:
    """Returns what the SavedModel in folder answers in a new process without our packages.

    Args:
      folder: version folder.
      batches: [N, H, W, 3] uint8 each.
      chosen: {label: {parameter: values}}, see `isolated_model.answers_of`.

    Returns:
      {case: {output: array}} of each batch.

    Raises:
      ChildProcessError: if the process failed, or one of PACKAGES could be imported there.
    """
    with tempfile.TemporaryDirectory() as work:
        requests, answers = os.path.join(work, "requests.npz"), os.path.join(work, "answers.npz")
        named = {str(k): images for k, images in enumerate(batches)}
        np.savez(requests, chosen=np.array(json.dumps(chosen)), **named)
        script = os.path.abspath(isolated_model.__file__)
        done = subprocess.run(
            [sys.executable, "-I", script, os.path.abspath(folder), requests, answers, *PACKAGES],
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise ChildProcessError(f"{folder} does not run in a process of its own: {last}")
        with np.load(answers) as file:
            found = {name: file[name] for name in file.files}
    if sorted(found.pop("refused")) != sorted(PACKAGES):
        raise ChildProcessError("the new process could import our packages, so it proves nothing")
    nested = [{} for _ in batches]
    for name, value in found.items():
        batch, case, output = name.split("/")
        nested[int(batch)].setdefault(case, {})[output] = value
    return nested


def measure(
    found: dict[str, np.ndarray], expected: Expected, shape: tuple[int, ...] = ()
) -> Measures:
    """Returns how far outputs are from what was expected; infinity where their shapes differ.

    Tables and the share of the background are compared on pictures whose maps are equal.

    Args:
      found: outputs [N, …] by name, PNG decoded.
      expected: of the same pictures, all of these outputs, but height and width.
      shape: of the batch, where there are height and width.
    """
    wanted = expected.outputs
    if shape:
        wanted = {**wanted, **{name: np.full(shape[0], shape[k]) for k, name in _SIDES}}
    masks, numbers = [(np.zeros([1, 1], bool), 0.0)], [0.0]
    is_equal = np.ones(len(next(iter(found.values()))), bool)
    for name, value in found.items():
        plain = name.removesuffix("_bytes")
        if plain in expected.gaps:
            mask = _apart(plain, value, wanted[plain])
            untied = np.mean(mask & (expected.gaps[plain]() > _TIED)) if mask.any() else 0.0
            masks.append((mask, float(untied)))
            is_equal &= [np.array_equal(a, b) for a, b in zip(value, wanted[plain], strict=True)]
    for name, value in found.items():
        plain = name.removesuffix("_bytes")
        if plain not in expected.gaps:
            rows = is_equal if plain in _OF_THE_MAP else slice(None)
            rounding = 0.5 / 255 if name != plain else 0.0
            numbers.append(_largest(value[rows], wanted[plain][rows], rounding))
    return Measures(
        float(np.max(numbers)),
        max(float(np.mean(mask)) for mask, _ in masks),
        max(untied for _, untied in masks),
    )


def pixels_apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns which pixels are grouped otherwise in two maps of ids [H, W], bool [H, W].

    Ids may be exchanged, background (0) with no other: a pixel is together where each of its two
    instances shares more pixels with the other than with any third.
    """
    shared = contingency(first, second)
    order = np.argsort(-shared.pixels, kind="stable")
    is_best = np.ones(len(order), bool)
    for ids in (shared.rows, shared.columns):
        is_first = np.zeros(len(order), bool)
        is_first[order[np.unique(ids[order], return_index=True)[1]]] = True
        is_best &= is_first
    is_pair = np.zeros([len(shared.truth_ids), len(shared.predicted_ids)], bool)
    is_pair[shared.rows[is_best], shared.columns[is_best]] = True
    rows = np.searchsorted(shared.truth_ids, first)
    columns = np.searchsorted(shared.predicted_ids, second)
    return ~is_pair[rows, columns] | ((first == 0) != (second == 0))


def _apart(name: str, found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns in which pixels maps [N, …, H, W] differ; all where their shapes do."""
    if found.shape != wanted.shape:
        return np.ones(wanted.shape, bool)
    if name == "semantic":
        return found != wanted
    maps = [x.astype(np.int32).reshape(-1, *x.shape[-2:]) for x in (found, wanted)]
    masks = [pixels_apart(a, b) for a, b in zip(*maps, strict=True)]
    return np.stack(masks).reshape(found.shape)


def _largest(found: np.ndarray, wanted: np.ndarray, rounding: float) -> float:
    """Returns the largest difference, as `Measures.numbers` says."""
    if found.shape != wanted.shape:
        return np.inf
    if not found.size:
        return 0.0
    if rounding:
        found = found / 255
    scale = max(1.0, float(np.max(np.abs(wanted)))) if wanted.dtype.kind == "f" else 1.0
    difference = np.abs(np.subtract(found, wanted, dtype=np.float64))
    return float(np.max(np.maximum(difference - rounding, 0.0))) / scale


def _key(case: str) -> str:
    """Returns the key of a case in what `expected_answers` returns."""
    signature, _, label = case.partition(":")
    if signature in ("embedding", "proposals"):
        return signature
    return label or "own"


def _is_alone(case: str) -> bool:
    """Returns whether the net sees the pictures of this case one by one."""
    return case.partition(":")[0] in ("serving_bytes", "serving_bytes_tuned", "tf_example")


def _check_outputs(folder: str, task: str, answers: dict, expected: dict[str, Expected]) -> None:
    """Raises ValueError if the export serves what a run of the task does not, or lacks some."""
    served, wanted = set(answers.get("serving_default", ())), set(expected["own"].outputs)
    if served != wanted:
        raise ValueError(
            f"{folder} serves {', '.join(sorted(served)) or 'nothing'}; a run of task {task} "
            f"serves {', '.join(sorted(wanted))}: it was not exported from such a run"
        )
