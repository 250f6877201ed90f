"""Picture files: which ones are meant, and names for what is made of them."""

import glob
import os

from data_pipeline.picture_files import SUFFIXES


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
