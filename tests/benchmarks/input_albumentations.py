"""The albumentations form of the input benchmark, on threads or on processes.

It is given what it is fast at: label maps stay uint8, scale and rotation are one warp that keeps
the picture's own size, and its processes keep what they made instead of handing it over.
"""

import concurrent.futures
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence

import numpy as np

_VOID = 255
_BATCH = 8  # pictures a task, so that tasks cost nothing beside them

_local = threading.local()  # a Compose is not safe to share between threads
_of_process: dict = {}


def is_installed() -> bool:
    """Returns whether albumentations and OpenCV can be imported."""
    # It looks for newer versions on the net otherwise.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        import albumentations  # noqa: F401
        import cv2  # noqa: F401
    except ImportError:
        return False
    return True


def composed(crop_size: tuple[int, int]):
    """Returns the transform of one picture and its label map."""
    import albumentations
    import cv2

    return albumentations.Compose(
        [
            albumentations.Affine(
                scale=(0.5, 1.5),
                rotate=(-10, 10),
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_NEAREST,
                border_mode=cv2.BORDER_CONSTANT,
                fill_mask=_VOID,
                p=1.0,
            ),
            albumentations.HorizontalFlip(p=0.5),
            albumentations.RandomCrop(
                *crop_size, pad_if_needed=True, pad_position="random", fill_mask=_VOID
            ),
            albumentations.ColorJitter(
                brightness=(0.875, 1.125),
                contrast=(0.75, 1.25),
                saturation=(0.75, 1.25),
                hue=(-10 / 360, 10 / 360),
                p=1.0,
            ),
        ],
        seed=1,
    )


def augmented(transform: Callable, image: bytes, labels: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Returns image [H, W, 3] and label map [H, W], both uint8, decoded and transformed."""
    import cv2

    picture = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR_RGB)
    label_map = cv2.imdecode(np.frombuffer(labels, np.uint8), cv2.IMREAD_UNCHANGED)
    made = transform(image=picture, mask=label_map)
    return made["image"], made["mask"]


class Workers:
    """All cores at work on pictures, until closed."""

    def __init__(
        self,
        images: Sequence[bytes],
        labels: Sequence[bytes],
        crop_size: tuple[int, int],
        kind: str,
    ) -> None:
        """Starts them.

        Args:
          images: encoded pictures.
          labels: encoded label maps, as many.
          crop_size: (height, width) of the output.
          kind: "threads" or "processes".
        """
        import cv2

        cores = len(os.sched_getaffinity(0))
        self._sources = (images, labels, crop_size)
        self._is_threads = kind == "threads"
        if self._is_threads:
            cv2.setNumThreads(1)
            self._pool = concurrent.futures.ThreadPoolExecutor(cores)
        else:
            # A fork would copy TensorFlow's locks but not the threads that hold them.
            self._pool = concurrent.futures.ProcessPoolExecutor(
                cores, multiprocessing.get_context("spawn"), _keep, (self._sources,)
            )

    def run(self, count: int) -> int:
        """Returns how many pictures were made: count."""
        starts = range(0, count, _BATCH)
        lengths = [min(_BATCH, count - start) for start in starts]
        if self._is_threads:
            tasks = self._pool.map(lambda *task: _make(self._sources, *task), starts, lengths)
        else:
            tasks = self._pool.map(_make_in_process, starts, lengths)
        return sum(tasks)

    def close(self) -> None:
        """Ends them."""
        self._pool.shutdown()


def _keep(sources: tuple) -> None:
    import cv2

    cv2.setNumThreads(1)
    _of_process["sources"] = sources


def _make_in_process(start: int, length: int) -> int:
    return _make(_of_process["sources"], start, length)


def _make(sources: tuple, start: int, length: int) -> int:
    images, labels, crop_size = sources
    if getattr(_local, "crop_size", None) != crop_size:
        _local.crop_size, _local.transform = crop_size, composed(crop_size)
    for number in range(start, start + length):
        picture = number % len(images)
        image, _ = augmented(_local.transform, images[picture], labels[picture])
        if image.shape[:2] != crop_size:
            raise ValueError(f"albumentations made {image.shape}, not {crop_size}")
    return length
