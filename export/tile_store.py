"""Answers of tiles on disk, so that a large picture takes no memory and can be gone on with."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from data_pipeline import command_line
from export.map_files import MapFile, require_space
from export.raw_picture import decode_to_file
from export.tiling import Tile

_PLAN_FILE, _PICTURE_FILE = "plan.json", "picture.raw"


@contextlib.contextmanager
def work_folder(path: str, plan: dict) -> Iterator[str]:
    """Yields the folder path, for what is needed until a picture is done; removed at the end.

    Of an interrupted run it stays, and is gone on with by one of the same plan.

    Args:
      path: made if absent.
      plan: ready for JSON; all that answers depend on.
    """
    plan_file = os.path.join(path, _PLAN_FILE)
    if _read_json(plan_file) != plan:
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        with open(plan_file, "w", encoding="utf-8") as file:
            json.dump(plan, file)
    try:
        yield path
    except ValueError:
        shutil.rmtree(path, ignore_errors=True)
        raise
    shutil.rmtree(path)


def open_picture(folder: str, path: str, size: tuple[int, int]) -> MapFile:
    """Returns the pixels [H, W, 3] uint8 of a picture file, decoded into folder if not yet there.

    Raises:
      OSError: naming the bytes needed, if the disk has not enough.
      ValueError: as `decode_to_file`.
    """
    raw_file = os.path.join(folder, _PICTURE_FILE)
    if not os.path.exists(raw_file):
        require_space(folder, size[0] * size[1] * 3)
        decode_to_file(path, f"{raw_file}.part")
        os.replace(f"{raw_file}.part", raw_file)
    return MapFile(raw_file, (*size, 3), np.uint8)


def answer_tiles(
    folder: str, tiles: Iterable[Tile], answer: Callable[[Tile], dict[str, np.ndarray]], title: str
) -> None:
    """Writes the answers of all tiles that folder does not hold yet, with progress.

    Args:
      folder: an existing one.
      tiles: of the picture.
      answer: tile → arrays by name.
      title: of the progress.
    """
    tiles = list(tiles)
    progress = command_line.progress_bar(len(tiles), title, "tiles")
    for tile in tiles:
        path = _tile_file(folder, tile)
        if not os.path.exists(path):
            with open(f"{path}.part", "wb") as file:
                np.savez_compressed(file, **answer(tile))
            os.replace(f"{path}.part", path)
        progress.update()
    progress.close()


def read_answer(folder: str, tile: Tile, *names: str) -> list[np.ndarray]:
    """Returns the named arrays of a tile's answer."""
    with np.load(_tile_file(folder, tile)) as arrays:
        return [arrays[name] for name in names]


def _tile_file(folder: str, tile: Tile) -> str:
    return os.path.join(folder, f"{tile.row:04d}_{tile.column:04d}.npz")


def _read_json(path: str) -> object:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None
