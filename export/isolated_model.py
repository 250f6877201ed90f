"""Runs an export where none of this project can be imported; a script of its own.

  python -I isolated_model.py VERSION_FOLDER PICTURES.npz ANSWERS.npz REFUSED_PACKAGE…

PICTURES.npz holds batches [N, H, W, 3] uint8. ANSWERS.npz gets for each batch NAME
`embedding/NAME`, then OUTPUT/NAME and OUTPUT_of_bytes/NAME, of pixels and of PNG bytes, and the
packages that were refused. OUTPUT is what the model serves: `boundary`, `instance`, `semantic`, or
`classed`, that is instance, semantic and the class of the instance, [N, H, W, 3].
"""

import importlib
import sys

import numpy as np
import tensorflow as tf


class Refusal:
    """An import hook that refuses packages by name, wherever they are installed."""

    def __init__(self, packages: list[str]) -> None:
        """Takes the names of the packages."""
        self.packages = packages

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Returns None, for other hooks to find the module; raises ImportError if refused."""
        del path, target
        if name.split(".")[0] in self.packages:
            raise ImportError(f"{name} is refused here")


def refused_packages(packages: list[str]) -> list[str]:
    """Returns those of the packages that cannot be imported, by trying."""
    refused = []
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError:
            refused.append(package)
    return refused


def answers_of(signatures: dict, images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns embedding and read-out maps of a batch, the maps from pixels and from PNG bytes."""
    image = tf.constant(images)
    pngs = tf.stack([tf.io.encode_png(picture) for picture in images])
    served = signatures["serving_default"](image=image)
    of_bytes = signatures["serving_bytes"](image_bytes=pngs)
    answers = {"embedding": signatures["embedding"](image=image)["embedding"].numpy()}
    if "boundary" in served:
        grey = [tf.io.decode_png(png, channels=1)[..., 0] for png in of_bytes["boundary_bytes"]]
        answers["boundary"] = served["boundary"].numpy()
        answers["boundary_of_bytes"] = (tf.cast(tf.stack(grey), tf.float32) / 255.0).numpy()
    elif "classes" in served:
        answers["classed"] = classed_maps(served)
        answers["classed_of_bytes"] = classed_maps(of_bytes)
    elif "semantic" in served:
        maps = [tf.io.decode_png(png, channels=1)[..., 0] for png in of_bytes["semantic_bytes"]]
        answers["semantic"] = served["semantic"].numpy()
        answers["semantic_of_bytes"] = tf.cast(tf.stack(maps), tf.int32).numpy()
    else:
        answers["instance"] = served["instance"].numpy()
        answers["instance_of_bytes"] = of_bytes["instance"].numpy()
    return answers


def classed_maps(served: dict) -> np.ndarray:
    """Returns instance, semantic and the class of each pixel's instance, [N, H, W, 3] int32."""
    # Id 0 is the background, of class 0.
    classes = np.pad(served["classes"].numpy(), [(0, 0), (1, 0)])
    instance = served["instance"].numpy()
    painted = np.stack([row[ids] for row, ids in zip(classes, instance, strict=True)])
    return np.stack([instance, served["semantic"].numpy(), painted], axis=-1)


def main(folder: str, pictures: str, answers: str, packages: list[str]) -> None:
    """Writes the answers of the model in folder to the pictures."""
    sys.meta_path.insert(0, Refusal(packages))
    results = {"refused": np.array(refused_packages(packages))}
    signatures = tf.saved_model.load(folder).signatures
    with np.load(pictures) as batches:
        for name in batches.files:
            for key, value in answers_of(signatures, batches[name]).items():
                results[f"{key}/{name}"] = value
    np.savez(answers, **results)


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])
