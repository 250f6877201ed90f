"""Which split a picture belongs to: by a list of names, or by a hash of its name."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Sequence

from data_pipeline.labelled_picture import Source
from data_pipeline.picture_files import read_file

VAL = "val"


def split_by_file(
    sources: Sequence[Source], path: str, only: str | None = None
) -> dict[str, list[Source]]:
    """Returns the sources by the split that a list names for them.

    Args:
      sources: pictures; their names differ.
      path: CSV file whose first line names its columns, among them `id`, the name of a picture, and
        `split`.
      only: the one split to return, all by default.

    Returns:
      Sources by split, splits and sources in the order of `sources`; a name of the list without a
      picture is a source with a problem, and so is a picture that is not in the list, in the first
      split.

    Raises:
      ValueError: the list cannot be read or lacks a column, a name occurs twice or has no split, or
        no picture is of the split `only`.
    """
    split_of = _read_split_file(path)
    if only is not None and only not in split_of.values():
        raise ValueError(f"{path} has the splits {sorted(set(split_of.values()))}, not {only!r}")
    names = {source.name for source in sources}
    splits: dict[str, list[Source]] = {
        split: [] for split in sorted(set(split_of.values())) if only in (None, split)
    }
    for source in sources:
        if split_of.get(source.name) in splits:
            splits[split_of[source.name]].append(source)
    for name, split in split_of.items():
        if split in splits and name not in names:
            problem = f"{path} lists {name!r}, and there is no such picture; correct the list"
            splits[split].append(Source(name, (path,), problem=problem))
    first = next(iter(splits))
    for source in sources:
        if source.name not in split_of:
            problem = source.problem or (
                f"{source.files[0]} is not listed: {path} has no id {source.name!r}; add it, or "
                "move the picture out"
            )
            splits[first].append(source._replace(problem=problem))
    return splits


def split_by_hash(
    sources: Sequence[Source], split: str, val_fraction: float
) -> dict[str, list[Source]]:
    """Returns the sources by split, some of them held out.

    A picture's split depends on its name alone, so more pictures move none to the other split.

    Args:
      sources: pictures.
      split: split of those that are not held out; another name than `val`.
      val_fraction: about this share, in [0, 1), goes to the split `val`.

    Raises:
      ValueError: an argument is out of its range, or a split gets no picture.
    """
    if not 0 <= val_fraction < 1:
        raise ValueError(f"val_fraction must lie in [0, 1), got {val_fraction}")
    if val_fraction == 0:
        return {split: list(sources)}
    if split == VAL:
        raise ValueError(f"with a val_fraction, split must have another name than {VAL}")
    splits: dict[str, list[Source]] = {split: [], VAL: []}
    for source in sources:
        splits[VAL if _unit_hash(source.name) < val_fraction else split].append(source)
    for name, chosen in splits.items():
        if not chosen:
            raise ValueError(
                f"val_fraction {val_fraction} leaves none of {len(sources)} pictures for {name}; "
                "choose another, or list the splits in a file"
            )
    return splits


def _read_split_file(path: str) -> dict[str, str]:
    # Spreadsheet programs write a mark of three bytes in front of UTF-8.
    text = read_file(path).decode("utf-8-sig", errors="replace")
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        columns, rows = rows.fieldnames, [(rows.line_num, row) for row in rows]
    except csv.Error as error:  # Of a zero byte, for Python 3.10, and of a line without end.
        raise ValueError(f"{path} cannot be read as CSV ({error})") from error
    if not {"id", "split"} <= set(columns or ()):
        raise ValueError(
            f"{path} must have the columns 'id' and 'split', separated by commas; its first line "
            f"names {columns}"
        )
    split_of: dict[str, str] = {}
    for line, row in rows:
        name, split = ((row[column] or "").strip() for column in ("id", "split"))
        if not name or not re.fullmatch(r"\w+", split):
            raise ValueError(
                f"{path}, line {line}: id must not be empty and split must consist of "
                f"letters, digits and underscores, got {name!r} and {split!r}"
            )
        if name in split_of:
            raise ValueError(f"{path}, line {line}: {name!r} is listed twice; remove one")
        split_of[name] = split
    if not split_of:
        raise ValueError(f"{path} lists no picture")
    return split_of


def _unit_hash(name: str) -> float:
    """Returns a number in [0, 1) that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48
