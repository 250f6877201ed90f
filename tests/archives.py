"""Archives of what other versions have written, kept in the repository."""

import io
import lzma
import os
import tarfile

_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "pb": 0}]


def read_archive(path):
    """The files of an archive by their paths in it; none where there is no archive."""
    if not path.exists():
        return {}
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def write_archive(path, files):
    """Writes files, bytes by path, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with (
        lzma.open(unfinished, "wb", filters=_FILTERS) as file,
        tarfile.open(fileobj=file, mode="w") as archive,
    ):
        # Parts of a kind beside each other, which the compression finds alike.
        for name in sorted(files, key=lambda name: (name.split("/")[1:], name)):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            archive.addfile(info, io.BytesIO(files[name]))
    os.replace(unfinished, path)
    print(f"Wrote {path} ({path.stat().st_size / 1e3:.0f} kB)")
