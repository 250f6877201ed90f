"""Pictures of a batch: which ones are meant, how they are dealt out, and their pixels."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import tensorflow as tf
from PIL import Image

from data_pipeline import schema, shards
from data_pipeline.labelled_picture import Source
from data_pipeline.picture_files import DECODER_ERRORS, read_file
from export.pictures import list_pictures, output_stems

# Files read ahead, since shared storage answers late, not slowly.
_READ_AHEAD = 4


class Picture(NamedTuple):
    """A picture as it lies in a file or record.

    Attributes:
      place: where it is, for the list of failures: `path`, and in a shard `record`, from 0.
      name: the file's path, or the record's name.
      stem: of the files made of it.
      content: of a picture file.
      problem: why there is no content; else empty.
    """

    place: dict
    name: str
    stem: str
    content: bytes
    problem: str = ""


def list_files(images: str) -> list[Source]:
    """Returns the pictures that a file, folder, glob or list names; a stem each as their name.

    Args:
      images: as `pictures.list_pictures`; on remote storage, such as gs://bucket/*.jpg, a glob
        without **; or a .txt with a path a line, or a .jsonl of an earlier batch's failures.

    Raises:
      FileNotFoundError, ValueError: if nothing is found, or a list is unreadable.
    """
    if images.endswith((".txt", ".jsonl")):
        paths = _listed(images)
    elif "://" in images:
        paths = sorted(tf.io.gfile.glob(images))
    else:
        paths = list_pictures(images)
    if not paths:
        raise ValueError(f"no picture found at {images}; give a glob in quotes, or a list of paths")
    return [Source(stem, (path,)) for path, stem in zip(paths, output_stems(paths), strict=True)]


def list_shards(pattern: str) -> list[Source]:
    """Returns the shards of one split.

    Raises:
      ValueError: as `shards.list_shards`, or if they are of several splits, in which pictures may
        have equal names.
    """
    paths = shards.list_shards(pattern)
    splits = {os.path.join(os.path.dirname(path), shards.split_name(path)) for path in paths}
    if len(splits) > 1:
        raise ValueError(
            f"--shards must be of one split, got {', '.join(sorted(splits))}; start a batch for "
            "each, with an --output_dir of its own"
        )
    return [Source(os.path.basename(path), (path,)) for path in paths]


def deal_out(sources: Sequence[Source], num_parts: int) -> list[list[Source]]:
    """Returns the sources in num_parts runs of their order, as equal in number as can be."""
    bounds = [len(sources) * k // num_parts for k in range(num_parts + 1)]
    return [list(sources[start:end]) for start, end in itertools.pairwise(bounds)]


def read_files(sources: Sequence[Source]) -> Iterator[Picture]:
    """Yields the pictures of files, in order; one that cannot be read with its problem."""

    def read(source: Source) -> Picture:
        path = source.files[0]
        try:
            return Picture({"path": path}, path, source.name, read_file(path))
        except ValueError as error:
            return Picture({"path": path}, path, source.name, b"", str(error))

    return _ahead(read, sources)


def read_records(sources: Sequence[Source]) -> Iterator[Picture]:
    """Yields the pictures of shards, in order; one that cannot be read with its problem.

    Of a damaged shard the first record that cannot be read stands for all that follow.
    """
    for path in (path for source in sources for path in source.files):
        place = {"path": path, "record": 0}
        try:
            for serialized in tf.data.TFRecordDataset(path):
                yield _picture_of(serialized, place)
                place = place | {"record": place["record"] + 1}
        except tf.errors.OpError as error:
            problem = f"this record and those after it cannot be read: {error.message}"
            yield Picture(place, path, "", b"", problem)


def picture_size(picture: Picture, max_pixels: int) -> tuple[int, int]:
    """Returns (W, H) in pixels by the file's head; zeros where decoding will say what is wrong.

    Raises:
      ValueError: it could not be read, or has more than max_pixels pixels.
    """
    if picture.problem:
        raise ValueError(picture.problem)
    width, height = _size(picture.content)
    if width * height > max_pixels:
        raise ValueError(
            f"{picture.name} has {width} x {height} = {width * height:,} pixels, more than the "
            f"limit of {max_pixels:,}; raise --max_pixels, or cut it"
        )
    return width, height


def _size(content: bytes) -> tuple[int, int]:
    # Pillow's own limit would come first, and not name ours.
    Image.MAX_IMAGE_PIXELS, limit = None, Image.MAX_IMAGE_PIXELS
    try:
        with Image.open(io.BytesIO(content)) as opened:
            return opened.size
    except DECODER_ERRORS:
        return 0, 0
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _listed(path: str) -> list[str]:
    lines = [line.strip() for line in read_file(path).decode().splitlines()]
    if not path.endswith(".jsonl"):
        return [line for line in lines if line]
    try:
        return [json.loads(line)["path"] for line in lines if line]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must have a path in each line of json ({error!r})") from error


def _picture_of(serialized: tf.Tensor, place: dict) -> Picture:
    try:
        name, content = schema.encoded_picture(serialized)
    except tf.errors.OpError as error:
        return Picture(place, f"{place['path']}, record {place['record']}", "", b"", error.message)
    return Picture(place, name, name.replace("/", "_"), content)


def _ahead(read: Callable[[Source], Picture], sources: Iterable[Source]) -> Iterator[Picture]:
    with ThreadPoolExecutor(_READ_AHEAD) as pool:
        waiting = deque()
        for source in sources:
            waiting.append(pool.submit(read, source))
            if len(waiting) > _READ_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
