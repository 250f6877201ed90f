"""Exported models in an application: TensorFlow and NumPy alone, no model code.

segmenter = rpe_tf.load("exports/digits")
instance, table = segmenter.predict("scene.png")
"""

import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

TABLE_DTYPE = np.dtype(
    [("id", np.int32), ("area", np.int32), ("score", np.float32), ("box", np.int32, 4)]
)


class Prediction(NamedTuple):
    """The instances of one picture."""

    instance: np.ndarray  # [H, W] int32, 0 background, 1..K
    # [K] of TABLE_DTYPE, largest first: id as in the map, area in pixels, score in [−1, 1], box
    # y_min, x_min, y_max, x_max in pixels, the last two exclusive.
    table: np.ndarray


class Segmenter:
    """A loaded export."""

    def __init__(self, folder: str) -> None:
        """Loads the version folder; raises ValueError if it lacks the signatures used here."""
        self.folder = folder
        # Functions live only as long as the object that was loaded.
        self._loaded = tf.saved_model.load(folder)
        for name in ("serving_default", "serving_bytes"):
            if name not in self._loaded.signatures:
                raise ValueError(
                    f"{folder} has no signature {name}; it was not written by export.export_main"
                )

    def predict(self, picture: str | os.PathLike | np.ndarray) -> Prediction:
        """Returns the instances of one picture.

        Args:
          picture: [H, W, 3] uint8 array, or the path of a JPEG, PNG, BMP or GIF file (first
            frame; alpha is dropped, grey repeated, an EXIF rotation not applied, a BMP of 8 bits
            taken for grey).

        Raises:
          ValueError: if the array is not [H, W, 3] uint8 with a pixel, or the file is no such
            picture.
          FileNotFoundError: if there is no such file.
        """
        if isinstance(picture, (str, os.PathLike)):
            return self._predict_file(os.fspath(picture))
        image = np.asarray(picture)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
            raise ValueError(
                f"a picture must be uint8 [H, W, 3], got {image.dtype} of shape {image.shape}; "
                "scale values to 0..255 and convert with astype(np.uint8), repeat a grey channel "
                "three times, drop alpha, and pass the pictures of a batch one by one"
            )
        outputs = self._loaded.signatures["serving_default"](image=tf.constant(image[np.newaxis]))
        return _first_prediction(outputs)

    def _predict_file(self, path: str) -> Prediction:
        if not os.path.isfile(path):
            raise FileNotFoundError(f"no file {path}; check the path")
        image_bytes = tf.io.read_file(path)[tf.newaxis]
        try:
            return _first_prediction(
                self._loaded.signatures["serving_bytes"](image_bytes=image_bytes)
            )
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"{path} cannot be read as JPEG, PNG, BMP or GIF; save it as one of these, or pass "
                "its pixels as an array"
            ) from error


def load(export_dir: str | os.PathLike) -> Segmenter:
    """Returns the exported model, ready to predict.

    Args:
      export_dir: a version folder, or the folder that holds the numbered versions: the largest.

    Raises:
      FileNotFoundError: if neither is there.
      ValueError: if the model lacks the signatures `serving_default` and `serving_bytes`.
    """
    return Segmenter(find_version(export_dir))


def find_version(export_dir: str | os.PathLike) -> str:
    """Returns the folder of a SavedModel: export_dir itself, or its largest numbered version.

    Raises:
      FileNotFoundError: if export_dir is no SavedModel and holds none.
    """
    folder = os.fspath(export_dir)
    if os.path.isfile(os.path.join(folder, "saved_model.pb")):
        return folder
    for version in reversed(list_versions(folder)):
        path = os.path.join(folder, str(version))
        if os.path.isfile(os.path.join(path, "saved_model.pb")):
            return path
    raise FileNotFoundError(
        f"no model in {folder}: neither saved_model.pb nor a numbered folder with one; write one "
        "with `python -m export.export_main --run_dir=… --export_dir=…`"
    )


def list_versions(folder: str) -> list[int]:
    """Returns the numbers of the version folders in folder, rising; none if it is absent."""
    if not os.path.isdir(folder):
        return []
    # As a server reads them: decimal digits alone, without leading zeros.
    names = [name for name in os.listdir(folder) if name.isascii() and name.isdigit()]
    return sorted(int(name) for name in names if str(int(name)) == name)


def _first_prediction(outputs: dict[str, tf.Tensor]) -> Prediction:
    areas = outputs["areas"][0].numpy()
    table = np.zeros(areas.shape, TABLE_DTYPE)
    table["id"] = np.arange(1, len(areas) + 1)
    table["area"], table["score"] = areas, outputs["scores"][0].numpy()
    table["box"] = outputs["boxes"][0].numpy()
    return Prediction(outputs["instance"][0].numpy(), table)
