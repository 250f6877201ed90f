"""What a converter reads: where a picture and its labels lie, and what is in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Source(NamedTuple):
    """One picture to convert: its name, and what a converter needs in order to read it.

    Attributes:
      name: of the record; unique in its split.
      files: paths that are read for it; error messages name them, and a change of one is noticed.
      details: what else the converter needs, as JSON values.
      problem: what listing found wrong with it; not empty means that it cannot be read.
    """

    name: str
    files: tuple[str, ...] = ()
    details: object = None
    problem: str = ""


class LabelledPicture(NamedTuple):
    """A picture and its labels.

    Attributes:
      image: [H, W, 3] uint8, or the bytes of a JPEG or PNG file, which are stored untouched.
      instance: [H, W] integers in [-1, 65534]; 0 background, -1 void.
      semantic: [H, W] integers in [-1, 254], index of the class; 0 background, -1 void; or None.
      annotator_instance: [K, H, W] integers as `instance`, a map of each of K annotators; or None.
      annotator_boundary: [K, H, W] bool, the boundaries each annotator drew; or None.
    """

    image: np.ndarray | bytes
    instance: np.ndarray
    semantic: np.ndarray | None = None
    annotator_instance: np.ndarray | None = None
    annotator_boundary: np.ndarray | None = None
