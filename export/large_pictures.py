"""Pictures too large for one pass: predicted tile by tile, on disk, in memory of a few tiles."""

import json
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from export import tile_instances
from export.map_files import MapFile, require_space, write_png, write_reduced_overlay, write_tiff
from export.raw_picture import picture_size
from export.tile_store import answer_tiles, open_picture, read_answer, work_folder
from export.tiling import TILE_PX, Tile, crop, default_overlap, plan_tiles
from rpe_tf.metrics.edge_thinning import suppress_non_maxima
from rpe_tf.saved_model import BoundaryDetector, Segmenter, SemanticSegmenter, find_version

MAX_PIXELS = 500_000_000
# Instances that a label map of 16 bits can hold; 65535 is void.
_MOST_16_BITS = 65534
# On disk a pixel, beside the picture's three: ids, classes, and tiles with what compresses badly.
_BYTES_A_PIXEL = 4 + 1 + 2


class Tiling(NamedTuple):
    """When and how pictures are cut into tiles, in pixels."""

    tile_px: int = TILE_PX  # a side of a picture beyond which it is cut, and a side of a tile
    overlap_px: int | None = None  # None: what the model sees to both sides
    max_pixels: int = MAX_PIXELS  # of a picture


class Large(NamedTuple):
    """A large picture being predicted."""

    model: Segmenter | BoundaryDetector | SemanticSegmenter
    image: MapFile
    tiles: dict[tuple, Tile]
    folder: str
    output: str  # path of its outputs, up to where their names differ


def read_info(model_dir: str) -> dict:
    """Returns model_info.json of an export.

    Raises:
      ValueError: if the export has none.
    """
    path = os.path.join(find_version(model_dir), "model_info.json")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is needed for pictures beyond --tile_px and cannot be read ({error}); export "
            "the run again"
        ) from error


def is_large(path: str, tiling: Tiling) -> bool:
    """Returns whether a picture is cut into tiles; reads its head alone.

    Raises:
      ValueError: as `picture_size`.
    """
    return max(picture_size(path, tiling.max_pixels)) > tiling.tile_px


def predict_large(
    model: Segmenter | BoundaryDetector | SemanticSegmenter,
    model_dir: str,
    path: str,
    output: str,
    *,
    tiling: Tiling,
    is_thin: bool = False,
    add_records: Callable[[Iterator[dict]], None] = lambda _: None,
) -> None:
    """Writes the files of one picture, `output` with `_instances.png` and so on.

    Args:
      model: as `rpe_tf.load` returned it.
      model_dir: what it was loaded from.
      path: of the picture.
      output: path of the outputs without the end of their names, in an existing folder.
      tiling: how it is cut.
      is_thin: of boundaries: whether they are thinned.
      add_records: takes what `tile_instances.records_of` yields.

    Raises:
      ValueError: naming the file, if it cannot be read, or if tiles are not possible.
      OSError: naming the bytes needed, if the disk has not enough.
    """
    if isinstance(model, Segmenter) and not model.can_group:
        raise ValueError(
            f"{path} is beyond --tile_px={tiling.tile_px}, for which the model needs the "
            "signatures embedding and group; export its run again with this version"
        )
    info = read_info(model_dir)
    size = picture_size(path, tiling.max_pixels)
    overlap_px = tiling.overlap_px or default_overlap(info)
    tiles = plan_tiles(size, tiling.tile_px, overlap_px)
    plan = {
        "picture": [os.path.abspath(path), os.stat(path).st_size, os.stat(path).st_mtime_ns],
        "model": [os.path.abspath(find_version(model_dir)), info.get("step"), info.get("exported")],
        "tiles": [tiling.tile_px, overlap_px, is_thin],
    }
    with work_folder(f"{output}.tiles", plan) as folder:
        image = open_picture(folder, path, size)
        require_space(folder, _BYTES_A_PIXEL * size[0] * size[1])
        large = Large(model, image, tiles, folder, output)
        if isinstance(model, Segmenter):
            read_out = tile_instances.plan_read_out(info, overlap_px // 2)
            _segment(large, read_out, path, add_records)
        elif isinstance(model, BoundaryDetector):
            _detect(large, is_thin)
        else:
            _classify(large)
        image.close()


def _segment(
    large: Large, read_out: tile_instances.ReadOut, path: str, add_records: Callable
) -> None:
    def answer(tile: Tile) -> dict[str, np.ndarray]:
        return tile_instances.answer_tile(large.model, read_out, large.image, tile)

    answer_tiles(large.folder, large.tiles.values(), answer, _title(large, "segmenting"))
    ids = _new_map(large, "ids.raw", np.int32)
    stitched = tile_instances.stitch(large.folder, large.tiles, ids, read_out)
    if len(stitched.table) <= _MOST_16_BITS:
        label_file = f"{large.output}_instances.png"
        write_png(label_file, ids, np.uint16)
    else:
        label_file = f"{large.output}_instances.tif"
        write_tiff(label_file, ids)
    write_reduced_overlay(f"{large.output}_overlay.png", large.image, ids)
    if large.model.has_classes:
        semantic = _paste(large, "semantic")
        write_png(f"{large.output}_semantic.png", semantic, np.uint8)
        semantic.close()
    add_records(tile_instances.records_of(stitched, path, os.path.basename(label_file)))
    ids.close()


def _classify(large: Large) -> None:
    def answer(tile: Tile) -> dict[str, np.ndarray]:
        found = large.model.predict(large.image.read(tile.window))
        return {"semantic": crop(found, tile.core, tile.window).astype(np.uint8)}

    answer_tiles(large.folder, large.tiles.values(), answer, _title(large, "classifying"))
    semantic = _paste(large, "semantic")
    write_png(f"{large.output}_semantic.png", semantic, np.uint8)
    write_reduced_overlay(f"{large.output}_overlay.png", large.image, semantic)
    semantic.close()


def _detect(large: Large, is_thin: bool) -> None:
    def answer(tile: Tile) -> dict[str, np.ndarray]:
        found = large.model.predict(large.image.read(tile.window))
        found = suppress_non_maxima(found) if is_thin else found
        samples = np.rint(255.0 * crop(found, tile.core, tile.window))
        return {"boundary": samples.astype(np.uint8)}

    answer_tiles(large.folder, large.tiles.values(), answer, _title(large, "detecting"))
    boundary = _paste(large, "boundary")
    write_png(f"{large.output}.png", boundary, np.uint8)
    boundary.close()


def _paste(large: Large, name: str) -> MapFile:
    """Returns the map [H, W] uint8 of which each tile's answer holds its core."""
    values = _new_map(large, f"{name}.raw", np.uint8)
    for tile in large.tiles.values():
        values.write(tile.core, *read_answer(large.folder, tile, name))
    return values


def _new_map(large: Large, name: str, dtype: type) -> MapFile:
    path = os.path.join(large.folder, name)
    if os.path.exists(path):  # of an interrupted run
        os.remove(path)
    return MapFile(path, large.image.shape[:2], dtype)


def _title(large: Large, verb: str) -> str:
    return f"{verb} {os.path.basename(large.output)}"
