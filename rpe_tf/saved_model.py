"""Exported models in an application: TensorFlow and NumPy alone, no model code.

segmenter = rpe_tf.load("exports/digits")
instance, table = segmenter.predict("scene.png")

detector = rpe_tf.load("exports/boundaries")
boundary = detector.predict("scene.png")

segmenter = rpe_tf.load("exports/classes")
semantic = segmenter.predict("scene.png")
"""

import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

TABLE_DTYPE = np.dtype(
    [
        *(("id", np.int32), ("area", np.int32), ("score", np.float32), ("box", np.int32, 4)),
        ("class", np.int32),
    ]
)
# Proposals have no classes.
POOLED_DTYPE = np.dtype(
    [("map", np.int32), *(field for field in TABLE_DTYPE.descr if field[0] != "class")]
)


class Prediction(NamedTuple):
    """The instances of one picture."""

    instance: np.ndarray  # [H, W] int32, 0 background, 1..K
    # [K] of TABLE_DTYPE, largest first: id as in the map; area in pixels; score, in [−1, 1], of a
    # run that fitted a scorer about an IoU; box y_min, x_min, y_max, x_max in pixels, the last two
    # exclusive; class, 0 where the model has none.
    table: np.ndarray


class ClassedPrediction(NamedTuple):
    """The instances of one picture with their classes, and the class of each pixel."""

    instance: np.ndarray  # as Prediction's
    table: np.ndarray  # as Prediction's, class from 1
    semantic: np.ndarray  # [H, W] int32, 0 background


class PooledPrediction(NamedTuple):
    """The proposals of one picture at several concentrations; they may overlap."""

    maps: np.ndarray  # [C, H, W] int32, instance maps, concentrations rising
    # [P] of POOLED_DTYPE, best first: as Prediction's, of the instance `id` in the map `map`; score
    # in [0, 1].
    table: np.ndarray


class Segmenter:
    """A loaded export that finds instances."""

    def __init__(self, loaded: object) -> None:
        """Takes what `tf.saved_model.load` returned; functions live only as long as it does."""
        self._loaded = loaded

    def predict(self, picture: str | os.PathLike | np.ndarray) -> Prediction:
        """Returns the instances of one picture.

        Args:
          picture: as `picture_tensor`.

        Raises:
          ValueError, FileNotFoundError: as `picture_tensor`.
        """
        return _first_prediction(_serve(self._loaded, picture))

    @property
    def has_classes(self) -> bool:
        """Whether the model gives its instances classes."""
        return "classes" in self._loaded.signatures["serving_default"].structured_outputs

    def predict_classed(self, picture: str | os.PathLike | np.ndarray) -> ClassedPrediction:
        """Returns the instances of one picture, and the class of each pixel.

        Args:
          picture: as `picture_tensor`.

        Raises:
          ValueError, FileNotFoundError: as `picture_tensor`.
          ValueError: if the model has no classes.
        """
        if not self.has_classes:
            raise ValueError("the model has no classes; call predict, or train --task=instances")
        outputs = _serve(self._loaded, picture)
        return ClassedPrediction(*_first_prediction(outputs), outputs["semantic"][0].numpy())

    @property
    def can_propose(self) -> bool:
        """Whether the model pools proposals; exports of older versions do not."""
        return "proposals" in self._loaded.signatures

    def propose(self, picture: str | os.PathLike | np.ndarray) -> PooledPrediction:
        """Returns the proposals of one picture, pooled over the run's concentrations.

        Args:
          picture: as `picture_tensor`.

        Raises:
          ValueError, FileNotFoundError: as `picture_tensor`.
          ValueError: if the model cannot propose.
        """
        if not self.can_propose:
            raise ValueError(
                "the model has no signature proposals; export its run again with this version"
            )
        outputs = _serve(self._loaded, picture, "proposals")
        table = np.zeros(outputs["areas"].shape[1], POOLED_DTYPE)
        table["map"], table["id"] = outputs["source"][0].numpy().T
        _fill_table(table, outputs)
        return PooledPrediction(outputs["maps"][0].numpy(), table)

    @property
    def can_group(self) -> bool:
        """Whether net and read-out can be run one after the other, as `embed` and `group` do."""
        return {"embedding", "group"} <= set(self._loaded.signatures)

    def embed(self, picture: str | os.PathLike | np.ndarray) -> dict[str, tf.Tensor]:
        """Returns what the net gives for one picture: `embedding` [1, H, W, D], and `logit`."""
        return _serve(self._loaded, picture, "embedding")

    def group(
        self, embedded: dict[str, tf.Tensor], parameters: dict[str, object]
    ) -> tuple[Prediction, np.ndarray | None]:
        """Returns the instances of what `embed` returned, and the classes [H, W] where there are.

        Args:
          embedded: of one picture.
          parameters: a value for each of the signature `group`, as its `signatures.md` says.
        """
        serve = self._loaded.signatures["group"]
        specs = serve.structured_input_signature[1]
        chosen = {name: tf.constant([x], specs[name].dtype) for name, x in parameters.items()}
        outputs = serve(**embedded, **chosen)
        semantic = outputs["semantic"][0].numpy() if "semantic" in outputs else None
        return _first_prediction(outputs), semantic


class BoundaryDetector:
    """A loaded export that finds boundaries."""

    def __init__(self, loaded: object) -> None:
        """Takes what `tf.saved_model.load` returned; functions live only as long as it does."""
        self._loaded = loaded

    def predict(self, picture: str | os.PathLike | np.ndarray) -> np.ndarray:
        """Returns the strength of a boundary at each pixel of one picture.

        Args:
          picture: as `picture_tensor`.

        Returns:
          [H, W] float32 in [0, 1]; lines a few pixels wide.

        Raises:
          ValueError, FileNotFoundError: as `picture_tensor`.
        """
        return _serve(self._loaded, picture)["boundary"][0].numpy()


class SemanticSegmenter:
    """A loaded export that finds the class of each pixel."""

    def __init__(self, loaded: object) -> None:
        """Takes what `tf.saved_model.load` returned; functions live only as long as it does."""
        self._loaded = loaded

    def predict(self, picture: str | os.PathLike | np.ndarray) -> np.ndarray:
        """Returns the class of each pixel of one picture, [H, W] int32, 0 background.

        Args:
          picture: as `picture_tensor`.

        Raises:
          ValueError, FileNotFoundError: as `picture_tensor`.
        """
        return _serve(self._loaded, picture)["semantic"][0].numpy()


def load(export_dir: str | os.PathLike) -> Segmenter | BoundaryDetector | SemanticSegmenter:
    """Returns the exported model, ready to predict: what kind it is, its outputs say.

    Args:
      export_dir: a version folder, or the folder that holds the numbered versions: the largest.

    Raises:
      FileNotFoundError: if neither is there.
      ValueError: if the model lacks the signature `serving_default`, or that gives neither
        instances nor boundaries nor classes.
    """
    folder = find_version(export_dir)
    return read_loaded(tf.saved_model.load(folder), folder)


def read_loaded(loaded: object, place: str) -> Segmenter | BoundaryDetector | SemanticSegmenter:
    """Returns a model that was loaded, ready to predict; as `load`.

    Args:
      loaded: what `tf.saved_model.load` returned, or anything with such signatures.
      place: where it comes from, for messages.

    Raises:
      ValueError: as `load`.
    """
    if "serving_default" not in loaded.signatures:
        raise ValueError(
            f"{place} has no signature serving_default; it was not written by export.export_main"
        )
    outputs = loaded.signatures["serving_default"].structured_outputs
    if "boundary" in outputs:
        return BoundaryDetector(loaded)
    if "instance" in outputs:
        return Segmenter(loaded)
    if "semantic" in outputs:
        return SemanticSegmenter(loaded)
    raise ValueError(
        f"{place} gives {', '.join(sorted(outputs))}, neither instance nor boundary nor semantic; "
        "it was not written by export.export_main"
    )


def picture_tensor(picture: str | os.PathLike | np.ndarray) -> tf.Tensor:
    """Returns the pixels of a picture [H, W, 3] uint8.

    Args:
      picture: [H, W, 3] uint8 array, or the path of a JPEG, PNG, BMP or GIF file, decoded as
        `decode_rgb` says.

    Raises:
      ValueError: if the array is not [H, W, 3] uint8 with a pixel, or the file is no such picture.
      FileNotFoundError: if there is no such file.
    """
    if isinstance(picture, (str, os.PathLike)):
        return _read_picture(os.fspath(picture))
    image = np.asarray(picture)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(
            f"a picture must be uint8 [H, W, 3], got {image.dtype} of shape {image.shape}; "
            "scale values to 0..255 and convert with astype(np.uint8), repeat a grey channel "
            "three times, drop alpha, and pass the pictures of a batch one by one"
        )
    return tf.constant(image)


def decode_rgb(image_bytes: tf.Tensor) -> tf.Tensor:
    """Returns [H, W, 3] uint8 of an encoded picture: alpha dropped, grey repeated, first frame.

    Args:
      image_bytes: scalar string, JPEG, PNG, BMP or GIF. 16-bit samples keep their high byte. An
        EXIF rotation is not applied, and a BMP of 8 bits is taken for grey whatever its palette.

    Raises:
      tf.errors.InvalidArgumentError: if the bytes are none of these.
    """
    image = tf.io.decode_image(image_bytes, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def find_version(export_dir: str | os.PathLike) -> str:
    """Returns the folder of a SavedModel: export_dir itself, or its largest numbered version.

    Raises:
      FileNotFoundError: if export_dir is no SavedModel and holds none.
    """
    folder = os.fspath(export_dir)
    if tf.io.gfile.exists(os.path.join(folder, "saved_model.pb")):
        return folder
    for version in reversed(list_versions(folder)):
        path = os.path.join(folder, str(version))
        if tf.io.gfile.exists(os.path.join(path, "saved_model.pb")):
            return path
    raise FileNotFoundError(
        f"no model in {folder}: neither saved_model.pb nor a numbered folder with one; write one "
        "with `python -m export.export_main --run_dir=… --export_dir=…`"
    )


def list_versions(folder: str) -> list[int]:
    """Returns the numbers of the version folders in folder, rising; none if it is absent."""
    if not tf.io.gfile.isdir(folder):
        return []
    # As a server reads them: decimal digits alone, without leading zeros. Object stores list
    # folders with a slash.
    names = [name.rstrip("/") for name in tf.io.gfile.listdir(folder)]
    names = [name for name in names if name.isascii() and name.isdigit()]
    return sorted(int(name) for name in names if str(int(name)) == name)


def _read_picture(path: str) -> tf.Tensor:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {path}; check the path")
    try:
        return decode_rgb(tf.io.read_file(path))
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"{path} cannot be read as JPEG, PNG, BMP or GIF; save it as one of these, or pass "
            "its pixels as an array"
        ) from error


def _serve(
    loaded: object, picture: str | os.PathLike | np.ndarray, name: str = "serving_default"
) -> dict[str, tf.Tensor]:
    image = picture_tensor(picture)[tf.newaxis]
    return loaded.signatures[name](image=image)


def _first_prediction(outputs: dict[str, tf.Tensor]) -> Prediction:
    areas = outputs["areas"][0].numpy()
    table = np.zeros(areas.shape, TABLE_DTYPE)
    table["id"] = np.arange(1, len(areas) + 1)
    _fill_table(table, outputs)
    if "classes" in outputs:
        table["class"] = outputs["classes"][0].numpy()
    return Prediction(outputs["instance"][0].numpy(), table)


def _fill_table(table: np.ndarray, outputs: dict[str, tf.Tensor]) -> None:
    for name, output in (("area", "areas"), ("score", "scores"), ("box", "boxes")):
        table[name] = outputs[output][0].numpy()
