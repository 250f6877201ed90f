"""One hostile input given to one reader, and the verdict on what came of it.

`right`: the answer of the undamaged file. `other`: another answer, of an input that is a valid file
of other content, as where no checksum can tell. `refused`: a known error that names the file.
Anything else is a fault.
"""

import os
import warnings
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

VERDICTS = ("right", "other", "refused", "fault")
# What every command turns into one line; see `data_pipeline.command_line.run`.
KNOWN_ERRORS = (ValueError, OSError, ArithmeticError, tf.errors.OpError)
# The largest growth of the process's memory: a picture at Pillow's limit takes this much.
MAX_BYTES = 2**31
FILE_NAME = "hostile"


class Kind(NamedTuple):
    """A reader and how its input is made and spoilt."""

    name: str
    suffix: str  # of the file
    make: Callable  # rng → content of a whole file
    spoil: Callable  # content, rng → content
    read: Callable  # path → what was read, as nested tuples of arrays; or a known error
    # Whether damage shows: another answer is then a fault. Else why it may pass.
    is_checked: bool = True
    names: tuple[str, ...] = (FILE_NAME,)  # An error has one of these words.


class Outcome(NamedTuple):
    """What a reader made of an input."""

    verdict: str
    detail: str  # the error, or what is wrong


def run_case(kind, seed, folder):
    """Returns the outcome of one input of a kind; the input is a function of the seed alone."""
    rng = np.random.default_rng([*seed, zlib.crc32(kind.name.encode())])
    whole = kind.make(rng)
    content = kind.spoil(whole, rng)
    path = os.path.join(folder, FILE_NAME + kind.suffix)
    expected = _read(kind, path, whole)
    start = _reset_peak()
    try:
        found = _read(kind, path, content)
    except KNOWN_ERRORS as error:
        message = str(getattr(error, "message", error))
        if not any(name in message for name in kind.names):
            return Outcome("fault", f"names no file: {type(error).__name__}: {message[:300]}")
        outcome = Outcome("refused", message)
    except BaseException as error:
        return Outcome("fault", f"{type(error).__name__}: {str(error)[:300]}")
    else:
        outcome = _judge(kind, found, expected, content == whole)
    grown = _peak_bytes() - start
    if grown > MAX_BYTES:
        return Outcome("fault", f"took {grown >> 20} MiB")
    return outcome


def _read(kind, path, content):
    with open(path, "wb") as file:
        file.write(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind.read(path)


def _judge(kind, found, expected, is_whole):
    if is_same(found, expected):
        return Outcome("right", "")
    if is_whole or kind.is_checked:
        return Outcome("fault", "another answer, and no error")
    return Outcome("other", "")


def is_same(first, second):
    """Whether two answers are equal: arrays in type, shape and value."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return (
            isinstance(first, np.ndarray)
            and isinstance(second, np.ndarray)
            and (first.dtype, first.shape) == (second.dtype, second.shape)
            and bool((first == second).all())
        )
    if isinstance(first, tuple | list):
        return len(first) == len(second) and all(map(is_same, first, second))
    return first == second


def _reset_peak():
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # The peak starts again from what is in use.
    return _peak_bytes()


def _peak_bytes():
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
