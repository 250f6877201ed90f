"""What the served modules share: inputs, variables, batches without a picture, descriptions.

TensorFlow's own ops alone, so that a server without Python runs them.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

IMAGE = (tf.TensorSpec([None, None, None, 3], tf.uint8, name="image"),)
IMAGE_BYTES = (tf.TensorSpec([None], tf.string, name="image_bytes"),)

# Of the names that mean the same in every module.
MEANINGS = {
    "image": "pictures, red, green, blue in 0..255",
    "examples": "tf.Example records with an encoded picture under image/encoded",
    "image_bytes": "encoded pictures, JPEG, PNG, BMP or GIF (first frame); sizes may differ",
    "height": "of the picture, in pixels",
    "width": "of the picture, in pixels",
}


def at_least_one_image(image: tf.Tensor) -> tf.Tensor:
    """Returns image [N, H, W, C] itself, and for N = 0 a black one [1, H, W, C].

    Neither the convolutions nor `tf.map_fn` take every batch of none; the outputs are cut back.
    """
    missing = tf.maximum(1 - tf.shape(image)[0], 0)
    return tf.pad(image, [[0, missing], [0, 0], [0, 0], [0, 0]])


def tf_variables(model: keras.Model) -> list[tf.Variable]:
    """Returns the TensorFlow variables of a model: inside those of Keras 3, those of Keras 2."""
    return [x if isinstance(x, tf.Variable) else x.value for x in model.variables]


def describe_signatures(signatures: dict, meanings: dict[str, str]) -> dict[str, dict]:
    """Returns inputs and outputs of each signature, ready for JSON: dtype, shape and meaning.

    Args:
      signatures: concrete functions by name, with one named tensor input each.
      meanings: of every input and output, by name.

    Returns:
      {signature: {"inputs": {name: {"dtype", "shape", "meaning"}}, "outputs": {…}}}, an unknown
      length written as null.
    """

    def describe(name: str, tensor: tf.TensorSpec | tf.Tensor) -> dict:
        shape = tensor.shape.as_list()
        return {"dtype": tensor.dtype.name, "shape": shape, "meaning": meanings[name]}

    return {
        name: {
            "inputs": {spec.name: describe(spec.name, spec) for spec in _inputs(function)},
            "outputs": {key: describe(key, x) for key, x in function.structured_outputs.items()},
        }
        for name, function in signatures.items()
    }


def format_signatures(described: dict[str, dict]) -> str:
    """Returns `describe_signatures` as markdown, a section a signature, N the pictures."""
    lines = ["# Signatures", "", "N is the number of pictures; `?` is any length."]
    for name, parts in described.items():
        lines += [
            "",
            f"## {name}",
            "",
            "| | name | type | shape | meaning |",
            "|---|---|---|---|---|",
        ]
        for kind in ("inputs", "outputs"):
            for key, tensor in parts[kind].items():
                sides = ["?" if side is None else str(side) for side in tensor["shape"]]
                shape = ", ".join(["N", *sides[1:]])
                lines.append(
                    f"| {kind[:-1]} | `{key}` | {tensor['dtype']} | [{shape}] | "
                    f"{tensor['meaning']} |"
                )
    return "\n".join(lines) + "\n"


def _inputs(function: Callable) -> list[tf.TensorSpec]:
    return [x for x in tf.nest.flatten(function.structured_input_signature) if hasattr(x, "dtype")]
