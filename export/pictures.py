"""Picture files: which ones are meant, their pixels, and names for what is made of them."""

import glob
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def list_pictures(images: str) -> list[str]:
    """Returns the paths that a file, a folder or a glob names, sorted.

    Args:
      images: a file; a folder, of which the files with a suffix of SUFFIXES are taken; or a glob,
        in which ** stands for folders of any depth.

    Raises:
      FileNotFoundError: if nothing is found.
    """
    if os.path.isfile(images):
        return [images]
    if os.path.isdir(images):
        names = [name for name in os.listdir(images) if name.lower().endswith(SUFFIXES)]
        paths = [os.path.join(images, name) for name in names]
    else:
        paths = glob.glob(images, recursive=True)
    paths = sorted(path for path in paths if os.path.isfile(path))
    if not paths:
        raise FileNotFoundError(
            f"no picture found at {images}; give a file, a folder with {', '.join(SUFFIXES)} "
            "files, or a glob in quotes"
        )
    return paths


def read_picture(path: str) -> np.ndarray:
    """Returns the pixels [H, W, 3] uint8 of a picture file, the way a viewer shows them.

    The EXIF rotation is applied, alpha is dropped, grey and palettes become RGB, 16-bit samples
    keep their high byte; of an animation the first frame.

    Raises:
      ValueError: naming the file, if it cannot be read as a picture or holds neither 8- nor
        16-bit samples.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            upright = ImageOps.exif_transpose(picture)
    # What Pillow's decoders raise on files that are cut off or spoilt.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise ValueError(_unreadable(path, error)) from error
    except Image.DecompressionBombError as error:
        raise ValueError(_unreadable(path, error)) from error
    if upright.mode == "F" or upright.mode.startswith("I"):
        return _grey_16_bit(path, np.asarray(upright))
    return np.asarray(upright.convert("RGB"))


def require_other_folder(paths: list[str], output_dir: str) -> None:
    """Returns nothing; stops where results would be taken for pictures the next time.

    Raises:
      ValueError: if one of the paths lies in output_dir itself.
    """
    output = os.path.realpath(output_dir)
    if any(os.path.dirname(os.path.realpath(path)) == output for path in paths):
        raise ValueError(
            f"--output_dir must not be a folder the pictures are read from, got {output_dir}; the "
            "results would be taken for pictures the next time"
        )


def output_stems(paths: list[str]) -> list[str]:
    """Returns for each path a name for its outputs: its stem, or the stem numbered where taken.

    Names differ in more than case, since some file systems ignore it. A file keeps its plain stem
    if it is the first with it; the others are numbered from 2, past the stems of other files.
    """
    stems = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    taken = {stem.casefold() for stem in stems}
    seen: set[str] = set()
    names = []
    for stem in stems:
        name = stem
        if stem.casefold() in seen:
            number = 2
            while f"{stem}-{number}".casefold() in taken:
                number += 1
            name = f"{stem}-{number}"
            taken.add(name.casefold())
        seen.add(stem.casefold())
        names.append(name)
    return names


def _grey_16_bit(path: str, grey: np.ndarray) -> np.ndarray:
    if grey.dtype.kind == "f" or grey.min() < 0 or grey.max() > 65535:
        raise ValueError(
            f"{path} holds {grey.dtype} samples from {grey.min()} to {grey.max()}; save it with 8 "
            "or 16 bits a sample"
        )
    return np.repeat((grey >> 8).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


def _unreadable(path: str, error: Exception) -> str:
    return f"{path} cannot be read as a picture ({error}); check the file or save it again as PNG"
