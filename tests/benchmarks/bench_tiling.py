"""Measures prediction by tiles: memory and minutes of a large picture, agreement with one pass.

The large picture is a mosaic of fluorescent nuclei, each piece cut at random, drawn with a seed;
`export.predict_main` runs on it in a process of its own, and memory is the sum over it and its
children, sampled. The agreement is of pictures small enough for one pass: the adjusted Rand index
of all pixels and of those in an instance of one pass, and the TP / (TP + FP + FN) of the instances
at IoU 0.5 with those of one pass. Beside it the mean index within the core of each tile, where
nothing is stitched: what is missing there the model itself answers otherwise.

Example:
  python -m tests.benchmarks.bench_tiling --model=rpe_tf/pretrained/nuclei --data=nuclei/images \
    --work_dir=/tmp/tiling --side_px=20000 --json=tiling.json
"""

import glob
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import tifffile
from absl import app, flags
from PIL import Image

import rpe_tf
from data_pipeline.picture_files import read_picture
from export.large_pictures import Tiling, predict_large, read_info
from export.tiling import Box, crop, default_overlap, plan_tiles
from rpe_tf.metrics.clustering import adjusted_rand_index
from rpe_tf.metrics.matching import score_matching
from tests.benchmarks.measurement import machine_facts

_MODEL = flags.DEFINE_string("model", "rpe_tf/pretrained/nuclei", "Folder of an export.")
_DATA = flags.DEFINE_string("data", None, "Folder of PNG pictures of nuclei.", required=True)
_WORK_DIR = flags.DEFINE_string("work_dir", None, "Folder for mosaic and results.", required=True)
_SIDE_PX = flags.DEFINE_integer("side_px", 20_000, "Of the mosaic; 0: none.", lower_bound=0)
_TILE_PX = flags.DEFINE_integer("tile_px", 1024, "Of the large picture.", lower_bound=192)
_FORMAT = flags.DEFINE_enum("format", "tif", ["tif", "png"], "Of the mosaic.")
_COMPARED = flags.DEFINE_integer(
    "compared", 8, "Pictures of 696 × 520 to compare with one pass, in 4 tiles.", lower_bound=0
)
_JSON = flags.DEFINE_string("json", None, "File for the figures; optional.")

_PIECE_PX = 256
# Fluorescence is dark; stained tissue is not.
_DARK = 60
_SAMPLE_EVERY_S = 0.5
# Four tiles of 696 × 520 pixels.
_COMPARED_TILE_PX = 448


def mosaic_pieces(paths: list[str], side_px: int) -> Iterator[np.ndarray]:
    """Yields pieces [256, 256, 3] uint8, row by row, that cover side_px squared."""
    pictures = [picture for picture in map(read_picture, paths) if picture.mean() < _DARK]
    rng = np.random.default_rng(0)
    for _ in range((-(-side_px // _PIECE_PX)) ** 2):
        picture = pictures[rng.integers(len(pictures))]
        y, x = (rng.integers(side - _PIECE_PX + 1) for side in picture.shape[:2])
        yield picture[y : y + _PIECE_PX, x : x + _PIECE_PX]


def write_mosaic(path: str, paths: list[str], side_px: int) -> None:
    """Writes the mosaic, a TIFF in tiles, or by way of one a PNG."""
    tiff = os.path.splitext(path)[0] + ".tif"
    tifffile.imwrite(
        tiff,
        mosaic_pieces(paths, side_px),
        shape=(side_px, side_px, 3),
        dtype=np.uint8,
        tile=(_PIECE_PX, _PIECE_PX),
        photometric="rgb",
        compression="zlib",
    )
    if path != tiff:
        Image.MAX_IMAGE_PIXELS = None
        Image.open(tiff).save(path, compress_level=1)
        os.remove(tiff)


def measure_mosaic(path: str, output_dir: str) -> dict:
    """Returns peak memory, minutes and instances of `predict_main` on one picture."""
    command = [sys.executable, "-m", "export.predict_main", f"--model={_MODEL.value}"]
    command += [f"--images={path}", f"--output_dir={output_dir}", f"--tile_px={_TILE_PX.value}"]
    start, peak, largest = time.time(), 0, 0
    process = subprocess.Popen(command)
    while process.poll() is None:
        sizes = [resident_bytes(pid) for pid in _family(process.pid)]
        peak, largest = max(peak, sum(sizes)), max(largest, *sizes, 0)
        time.sleep(_SAMPLE_EVERY_S)
    if process.returncode:
        raise RuntimeError(f"predict_main ended with {process.returncode}")
    with open(os.path.join(output_dir, "predictions.json"), encoding="utf-8") as file:
        num_instances = file.read().count('"segmentation"')
    return {
        "side_px": _SIDE_PX.value,
        "minutes": (time.time() - start) / 60,
        "peak_gigabytes_of_all_processes": peak / 1e9,
        "peak_gigabytes_of_one_process": largest / 1e9,
        "instances": num_instances,
    }


def compare(path: str, model: object, work_dir: str) -> dict:
    """Returns how the instances of a picture in four tiles agree with those of one pass."""
    records = []
    output = os.path.join(work_dir, "compared")
    predict_large(
        model,
        _MODEL.value,
        path,
        output,
        tiling=Tiling(tile_px=_COMPARED_TILE_PX),
        add_records=records.extend,
    )
    with Image.open(f"{output}_instances.png") as picture:
        stitched = np.asarray(picture).astype(np.int64)
    whole = model.predict(read_picture(path)).instance
    matched = score_matching(whole, stitched)
    found = matched.true_positives[:, 0].sum()
    tiles = plan_tiles(whole.shape, _COMPARED_TILE_PX, default_overlap(read_info(_MODEL.value)))
    origin = Box(0, 0, *whole.shape)
    in_cores = [
        adjusted_rand_index(*(crop(ids, tile.core, origin) for ids in (whole, stitched)))
        for tile in tiles.values()
    ]
    return {
        "picture": os.path.basename(path),
        "instances_one_pass": int(whole.max()),
        "instances_tiles": len(records),
        "rand_index": adjusted_rand_index(whole, stitched),
        "rand_index_foreground": adjusted_rand_index(whole, stitched, whole > 0),
        "rand_index_in_cores": float(np.mean(in_cores)),
        "accuracy_50": float(found / (whole.max() + len(records) - found)),
    }


def resident_bytes(pid: int) -> int:
    """Returns the resident memory of a process, 0 of one that has ended."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _family(pid: int) -> list[int]:
    """Returns a process and its children."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [pid, *map(int, file.read().split())]
    except OSError:
        return [pid]


def main(argv: list[str]) -> None:
    """Prints the figures, and writes them if asked."""
    del argv
    os.makedirs(_WORK_DIR.value, exist_ok=True)
    paths = sorted(glob.glob(os.path.join(_DATA.value, "*.png")))
    figures = {"machine": machine_facts(("numpy", "tensorflow", "pillow", "tifffile"))}
    if _COMPARED.value:
        model = rpe_tf.load(_MODEL.value)
        large = [path for path in paths if Image.open(path).size == (696, 520)]
        chosen = large[:: max(len(large) // _COMPARED.value, 1)][: _COMPARED.value]
        figures["compared"] = []
        for path in chosen:
            figures["compared"].append(compare(path, model, _WORK_DIR.value))
            print(figures["compared"][-1], flush=True)
    if _SIDE_PX.value:
        mosaic = os.path.join(_WORK_DIR.value, f"mosaic{_SIDE_PX.value}.{_FORMAT.value}")
        if not os.path.exists(mosaic):
            write_mosaic(mosaic, paths, _SIDE_PX.value)
        figures["mosaic"] = measure_mosaic(mosaic, os.path.join(_WORK_DIR.value, "out"))
        print(figures["mosaic"])
    if _JSON.value:
        with open(_JSON.value, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)


if __name__ == "__main__":
    app.run(main)
