"""The instances of a large picture: those of its tiles, stitched into a map on disk."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from data_pipeline.command_line import progress_bar
from export.map_files import MapFile
from export.tile_store import read_answer
from export.tiling import Box, Tile, crop, shared
from rpe_tf.inference import stitching
from rpe_tf.inference.grouping import MODE_COSINE
from rpe_tf.inference.picture_scale import only_scale
from rpe_tf.metrics.rle import rle_encode_box
from rpe_tf.models.position import wave_vectors
from rpe_tf.saved_model import TABLE_DTYPE, Segmenter

# Stands for none in a signature that needs a number.
_NO_SCORE = -1e9
_EARLIER = ((0, -1), (-1, -1), (-1, 0), (-1, 1))


class ReadOut(NamedTuple):
    """How tiles are read out, and what is left for the whole picture."""

    parameters: dict  # of the signature `group`, for a tile
    min_area: int
    min_score: float
    background: str | None  # None: not a group's, the classes say it
    mode_cosine: float  # to the background, of what is part of it
    wavelengths: tuple[float, float] | None  # of embeddings turned by their position
    is_comparable: bool  # whether an embedding means the same in two tiles


class Stitched(NamedTuple):
    """The instances of a picture: a map on disk with ids 1..K by falling area, and their table."""

    ids: MapFile  # [H, W] int32
    table: np.ndarray  # [K] of TABLE_DTYPE; boxes may be larger than the instance


def plan_read_out(info: dict, margin_px: int) -> ReadOut:
    """Returns how the tiles of a run's model are read out.

    An instance is judged when it is whole: by area, by score, and whether it is the background,
    which may fill a tile, as an object may. Yet fragments are left out that no border has cut off:
    what reaches beyond a margin has as many pixels as the margin is wide.

    Args:
      info: model_info.json of the export.
      margin_px: half an overlap.
    """
    settings = info["settings"]
    given = {
        **{"max_loops": 50, "min_area": 1, "background": "border", "mode_cosine": MODE_COSINE},
        **settings["read_out"],
    }
    min_score = given.get("min_score")
    background = given["background"] if info["task"] == "proposals" else None
    parameters = {
        "concentration": given["concentration"],
        "max_loops": given["max_loops"],
        "min_area": min(given["min_area"], margin_px),
        "min_score": _NO_SCORE,
    }
    if background is not None:
        parameters["background"] = "none"
    model = settings["model"]
    position = model.get("position", "none")
    # In pixels of the picture; the net counts those of what it reads.
    scale = only_scale(given)
    wavelengths = tuple(x / scale for x in model.get("wavelengths", (24.0, 384.0)))
    return ReadOut(
        parameters,
        given["min_area"],
        _NO_SCORE if min_score is None else min_score,
        background,
        given["mode_cosine"],
        wavelengths if position == "rotation" else None,
        position != "channels",
    )


def answer_tile(
    segmenter: Segmenter, read_out: ReadOut, image: MapFile, tile: Tile
) -> dict[str, np.ndarray]:
    """Returns the instances of a tile, ready to be stored.

    Returns:
      `instance` [h, w] int32 of the window; rows for its ids: `embedding` [K, D], `area`,
      `score`, `class`, `is_cut`; `semantic` of the core, uint8, where there are classes.
    """
    window = tile.window
    embedded = segmenter.embed(image.read(window))
    found, semantic = segmenter.group(embedded, read_out.parameters)
    num = len(found.table)
    means = np.zeros([num, 0], np.float32)
    if read_out.is_comparable:
        means = stitching.mean_directions(found.instance, embedded["embedding"][0].numpy(), num)
    if read_out.wavelengths is not None:
        vectors = wave_vectors(means.shape[1] // 2, read_out.wavelengths).astype(np.float64)
        means = stitching.turn(means, vectors @ (window.y, window.x))
    height, width = image.shape[:2]
    sides = (window.y > 0, window.x > 0, window.y_end < height, window.x_end < width)
    answer = {
        "instance": found.instance,
        "embedding": means,
        "is_cut": stitching.touches(found.instance, num, sides),
        **{name: found.table[name] for name in ("area", "score", "class")},
    }
    if semantic is not None:
        answer["semantic"] = crop(semantic, tile.core, window).astype(np.uint8)
    return answer


def stitch(folder: str, tiles: Mapping[tuple, Tile], ids: MapFile, read_out: ReadOut) -> Stitched:
    """Returns the instances of the picture whose tiles folder holds, ids written.

    Args:
      folder: of `answer_tiles`.
      tiles: as `plan_tiles` returns them.
      ids: [H, W] int32, all 0; changed.
      read_out: that of the tiles.

    Memory: a few tiles, and tables linear in the number of instances.
    """
    tables, first = _read_tables(folder, tiles.values())
    pairs = _match_all(folder, tiles, first)
    num = len(tables["area"])
    root = stitching.roots(pairs, num)
    is_matched = np.zeros(num, bool)
    is_matched[pairs] = True
    # Of what has no partner, that of which a tile holds half in its core.
    is_whole = ~is_matched & (2 * tables["core_area"] >= tables["area"])
    is_kept = is_matched | is_whole
    new_id = np.where(is_kept, root + 1, 0).astype(np.int32)
    boxes = _paint_all(folder, tiles.values(), ids, first, new_id, is_whole)
    joined = _join(tables, root, boxes)
    areas, on_border = _measure(ids, len(joined))
    joined["area"] = areas
    is_kept = (areas >= max(read_out.min_area, 1)) & (joined["score"] >= read_out.min_score)
    if read_out.background in ("border", "largest") and len(joined):
        may_be = areas if read_out.background == "largest" else np.where(on_border, areas, 0)
        is_kept &= ~_is_background(tables, root, np.argmax(may_be), read_out)
    return _rank(ids, joined, is_kept)


def records_of(stitched: Stitched, file_name: str, label_file: str) -> Iterator[dict]:
    """Yields a record for each instance, as `prediction_files.coco_results`, one at a time."""
    size = stitched.ids.shape
    progress = progress_bar(len(stitched.table), "writing", "instances")
    for row in stitched.table:
        box = Box(*row["box"].tolist())
        mask = stitched.ids.read(box) == row["id"]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        y, x = box.y + int(rows[0]), box.x + int(columns[0])
        yield {
            "file_name": file_name,
            "label_file": label_file,
            "instance": int(row["id"]),
            "category_id": int(row["class"]) or 1,
            "segmentation": rle_encode_box(mask, box.y, box.x, size),
            "bbox": [x, y, int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1],
            "area": int(row["area"]),
            "score": float(row["score"]),
        }
        progress.update()
    progress.close()


def _read_tables(folder: str, tiles: Iterable[Tile]) -> tuple[dict[str, np.ndarray], dict]:
    """Returns the rows of all tiles' instances, one after the other, and each tile's first row."""
    names = ("area", "score", "class", "embedding")
    parts, first, begin = [], {}, 0
    for tile in tiles:
        instance, *columns = read_answer(folder, tile, "instance", *names)
        num = len(columns[0])
        in_core = np.bincount(crop(instance, tile.core, tile.window).ravel(), minlength=num + 1)
        parts.append((*columns, in_core[1:]))
        first[tile.row, tile.column] = begin
        begin += num
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return dict(zip((*names, "core_area"), joined, strict=True)), first


def _match_all(folder: str, tiles: Mapping[tuple, Tile], first: dict) -> np.ndarray:
    """Returns the rows [P, 2] of instances that are one, in tiles that look at the same pixels."""
    read = functools.lru_cache(maxsize=4)(functools.partial(_read_view, folder))
    found = [np.zeros([0, 2], np.int64)]
    progress = progress_bar(len(tiles), "stitching", "tiles")
    for (row, column), tile in tiles.items():
        for down, right in _EARLIER:
            place = row + down, column + right
            if place not in tiles:
                continue
            other = tiles[place]
            strip = shared(tile.window, other.window)
            views = [
                view._replace(instance=crop(view.instance, strip, each.window))
                for each, view in ((other, read(other)), (tile, read(tile)))
            ]
            pairs = stitching.match(*views) - 1
            found.append(pairs + (first[place], first[row, column]))
        progress.update()
    progress.close()
    return np.concatenate(found)


def _read_view(folder: str, tile: Tile) -> stitching.View:
    """Returns what a tile says, of its whole window."""
    instance, embedding, is_cut = read_answer(folder, tile, "instance", "embedding", "is_cut")
    in_core = np.bincount(crop(instance, tile.core, tile.window).ravel(), minlength=len(is_cut) + 1)
    return stitching.View(instance, embedding, is_cut, in_core[1:] > 0)


def _paint_all(
    folder: str,
    tiles: Iterable[Tile],
    ids: MapFile,
    first: dict,
    new_id: np.ndarray,
    is_whole: np.ndarray,
) -> np.ndarray:
    """Returns the box [num, 4] of what each row's instance painted, one turned over if nothing."""
    boxes = np.tile(np.array([2**31 - 1, 2**31 - 1, 0, 0], np.int32), [len(new_id), 1])
    for tile in tiles:
        (instance,) = read_answer(folder, tile, "instance")
        begin = first[tile.row, tile.column]
        rows = slice(begin, begin + int(instance.max()))
        is_core = np.zeros(instance.shape, bool)
        crop(is_core, tile.core, tile.window)[...] = True
        canvas = ids.read(tile.window)
        painted = stitching.paint(
            canvas,
            np.append(0, new_id[rows]).astype(np.int32)[instance],
            is_core,
            np.append(False, is_whole[rows])[instance],
        )
        ids.write(tile.window, canvas)
        found = ndimage.find_objects(np.where(painted, instance, 0))
        for row, place in enumerate(found, start=begin):
            if place is not None:
                y, x = (side.start for side in place)
                y_end, x_end = (side.stop for side in place)
                origin = tile.window[:2] * 2
                boxes[row] = np.add((y, x, y_end, x_end), origin)
    return boxes


def _join(tables: dict[str, np.ndarray], root: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns the table of all objects, row r of id r + 1, areas not yet known.

    Score and class are those of the tile that sees the most of it.
    """
    num = int(root.max(initial=-1)) + 1
    joined = np.zeros(num, TABLE_DTYPE)
    order = np.argsort(tables["area"], kind="stable")
    # Of several written to one place the last stays: the largest.
    joined["score"][root[order]] = tables["score"][order]
    joined["class"][root[order]] = tables["class"][order]
    joined["box"][:, :2] = 2**31 - 1
    for side in range(4):
        reduce = np.minimum if side < 2 else np.maximum
        column = np.ascontiguousarray(joined["box"][:, side])
        reduce.at(column, root, boxes[:, side])
        joined["box"][:, side] = column
    return joined


def _measure(ids: MapFile, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pixels of each object [num], and whether it touches the border of the picture."""
    areas, on_border = np.zeros(num + 1, np.int64), np.zeros(num + 1, bool)
    for box, band in ids.bands():
        areas += np.bincount(band.ravel(), minlength=num + 1)
        edges = [band[:, 0], band[:, -1]]
        edges += [band[0]] if box.y == 0 else []
        edges += [band[-1]] if box.y_end == ids.shape[0] else []
        on_border[np.concatenate(edges)] = True
    return areas[1:], on_border[1:]


def _is_background(
    tables: dict[str, np.ndarray], root: np.ndarray, background: int, read_out: ReadOut
) -> np.ndarray:
    """Returns which objects are the background or, like holes in an object, look like it."""
    num = int(root.max()) + 1
    weighted = tables["embedding"] * tables["area"][:, np.newaxis]
    sums = [np.bincount(root, weights=column, minlength=num) for column in weighted.T]
    means = np.stack(sums, axis=1) if sums else np.zeros([num, 0])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    is_like_it = means @ means[background] >= read_out.mode_cosine
    return is_like_it | (np.arange(num) == background)


def _rank(ids: MapFile, joined: np.ndarray, is_kept: np.ndarray) -> Stitched:
    """Returns the objects that stay, the map's ids by falling area from 1."""
    rows = np.flatnonzero(is_kept)
    rows = rows[np.argsort(-joined["area"][rows], kind="stable")]
    new_id = np.zeros(len(joined) + 1, np.int32)
    new_id[rows + 1] = np.arange(1, len(rows) + 1)
    for box, band in ids.bands():
        ids.write(box, new_id[band])
    table = joined[rows]
    table["id"] = np.arange(1, len(rows) + 1)
    return Stitched(ids, table)
