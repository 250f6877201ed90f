"""Runs an export where none of this project can be imported; a script of its own.

  python -I isolated_model.py VERSION_FOLDER REQUESTS.npz ANSWERS.npz REFUSED_PACKAGE…

REQUESTS.npz holds batches [N, H, W, 3] uint8, and under `chosen` the JSON of what the parameters of
the tuned signatures are to be: {label: {parameter: values, taken in turns by the pictures}}.
ANSWERS.npz gets `BATCH/CASE/OUTPUT`, all outputs of all signatures, and the packages that were
`refused`. A case is SIGNATURE, or SIGNATURE:LABEL; `embedding:alone` is `embedding` asked picture
by picture. PNG outputs are decoded.
"""

import importlib
import json
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


def answers_of(signatures: dict, images: np.ndarray, chosen: dict) -> dict[str, np.ndarray]:
    """Returns all outputs of all signatures to a batch, as `CASE/OUTPUT`.

    Args:
      signatures: of a loaded export; those of other inputs than ours are left out.
      images: [N, H, W, 3] uint8.
      chosen: {label: {parameter: values}} of the tuned signatures, a case a label.
    """
    known = inputs_of(images)
    if "embedding" in signatures:
        known |= signatures["embedding"](image=known["image"])
    answers = {}
    for name, signature in signatures.items():
        specs = signature.structured_input_signature[1]
        cases = {name: {}}
        if not set(specs) <= set(known):
            cases = {f"{name}:{label}": values for label, values in chosen.items()}
        for case, values in cases.items():
            rows = {
                key: tf.constant(np.resize(value, len(images)).tolist(), specs[key].dtype)
                for key, value in values.items()
                if key in specs
            }
            if set(specs) <= {*known, *rows}:
                found = signature(**{key: {**known, **rows}[key] for key in specs})
                answers |= {f"{case}/{key}": decoded(x) for key, x in found.items()}
    return answers


def answers_alone(signatures: dict, images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the outputs of `embedding` to pictures [N, H, W, 3] one by one, as `CASE/OUTPUT`.

    Signatures that take encoded pictures run the net so; in a batch it may round otherwise.
    """
    if "embedding" not in signatures:
        return {}
    found = [
        signatures["embedding"](image=tf.constant(images[n : n + 1])) for n in range(len(images))
    ]
    return {f"embedding:alone/{key}": np.concatenate([x[key] for x in found]) for key in found[0]}


def inputs_of(images: np.ndarray) -> dict[str, tf.Tensor]:
    """Returns a batch [N, H, W, 3] uint8 as the inputs take it: pixels, PNG and tf.Example."""
    pngs = [tf.io.encode_png(picture).numpy() for picture in images]
    features = [
        tf.train.Features(
            feature={"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png]))}
        )
        for png in pngs
    ]
    examples = [tf.train.Example(features=x).SerializeToString() for x in features]
    return {
        "image": tf.constant(images),
        "image_bytes": tf.constant(pngs),
        "examples": tf.constant(examples),
    }


def decoded(output: tf.Tensor) -> np.ndarray:
    """Returns an output, grey PNG of one size [N] as their samples [N, H, W] uint8 or uint16."""
    if output.dtype != tf.string:
        return output.numpy()
    # Byte 24 of a PNG: bits of a sample.
    depths = [tf.uint16 if png[24] == 16 else tf.uint8 for png in output.numpy()]
    pairs = zip(output, depths, strict=True)
    return np.stack([tf.io.decode_png(png, 1, depth)[..., 0].numpy() for png, depth in pairs])


def main(folder: str, requests: str, answers: str, packages: list[str]) -> None:
    """Writes the answers of the model in folder to the requests."""
    sys.meta_path.insert(0, Refusal(packages))
    results = {"refused": np.array(refused_packages(packages))}
    signatures = tf.saved_model.load(folder).signatures
    with np.load(requests) as batches:
        chosen = json.loads(batches["chosen"].item())
        for name in batches.files:
            if name != "chosen":
                found = answers_of(signatures, batches[name], chosen)
                found |= answers_alone(signatures, batches[name])
                results |= {f"{name}/{key}": x for key, x in found.items()}
    np.savez(answers, **results)


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])
