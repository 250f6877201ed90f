"""The functions a SavedModel serves, the same for every task: pictures in, answers out.

TensorFlow's own ops alone, so that a server without Python runs them. Every output has the batch
as its first dimension, which the row format of TensorFlow Serving's REST interface needs.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from export import batching, signatures
from export.answers import Answers
from rpe_tf.saved_model import decode_rgb

# The key of an encoded picture in a tf.Example, as the shards of this project have it.
EXAMPLE_KEY = "image/encoded"
_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")


class ServedModule(tf.Module):
    """A trained model, as functions with named inputs and outputs.

    Holds the model's variables and not the Keras model: the SavedModel then carries no Keras
    objects, and loads whatever Keras is installed, or none. Net and answer are traced once each,
    and shared by all signatures.
    """

    def __init__(self, model: keras.Model, answers: Answers) -> None:
        """Takes the model, for its variables, and how its task answers."""
        super().__init__(name="serving")
        self.model_variables = signatures.tf_variables(model)
        self.signature_names = []
        # In a closure: functions are not tracked for saving, a model or dict as attribute would be.
        for name, (function, inputs) in _functions(answers).items():
            setattr(self, name, tf.function(function, input_signature=inputs))
            self.signature_names.append(name)


def _functions(answers: Answers) -> dict[str, tuple[Callable, list[tf.TensorSpec]]]:
    """Returns the functions and their inputs, by the names of their signatures."""
    predict = tf.function(answers.predict, input_signature=signatures.IMAGE)
    respond = tf.function(answers.respond, reduce_retracing=True)
    tuned = [
        tf.TensorSpec([None], parameter.dtype, name=name)
        for name, parameter in answers.parameters.items()
    ]

    def of_pixels(image: tf.Tensor, *chosen: tf.Tensor) -> dict[str, tf.Tensor]:
        num = tf.shape(image)[0]
        predicted = predict(signatures.at_least_one_image(image))
        found = respond(predicted, _parameters(answers, num, chosen))
        return batching.first_rows(found, num, answers.tables)

    def of_bytes(image_bytes: tf.Tensor, *chosen: tf.Tensor) -> dict[str, tf.Tensor]:
        num = tf.shape(image_bytes)[0]
        parameters = _parameters(answers, num, chosen)
        rows = _encoded_rows(answers, predict, respond, image_bytes, parameters)
        return batching.first_rows(rows, num, answers.tables)

    def embedding(image: tf.Tensor) -> dict[str, tf.Tensor]:
        predicted = predict(signatures.at_least_one_image(image))
        return {name: predicted[name][: tf.shape(image)[0]] for name in answers.given}

    def tf_example(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        keys = {EXAMPLE_KEY: tf.io.FixedLenFeature([], tf.string)}
        return of_bytes(tf.io.parse_example(examples, keys)[EXAMPLE_KEY])

    functions = {
        "serving_default": (of_pixels, [*signatures.IMAGE]),
        "serving_bytes": (of_bytes, [*signatures.IMAGE_BYTES]),
        "embedding": (embedding, [*signatures.IMAGE]),
        "tf_example": (tf_example, [_EXAMPLES]),
    }
    if answers.propose:
        propose = tf.function(answers.propose, reduce_retracing=True)

        def proposals(image: tf.Tensor) -> dict[str, tf.Tensor]:
            found = propose(predict(signatures.at_least_one_image(image)))
            num = tf.shape(image)[0]
            return batching.first_rows(found, num, answers.proposal_tables, "num_proposals")

        functions["proposals"] = (proposals, [*signatures.IMAGE])
    if not tuned:
        return functions

    def group(*arguments: tf.Tensor) -> dict[str, tf.Tensor]:
        given, chosen = arguments[: len(answers.given)], arguments[len(answers.given) :]
        num = tf.shape(given[0])[0]
        given = [signatures.at_least_one_image(x) for x in given]
        predicted = dict(zip(answers.given, given, strict=True))
        found = respond(predicted, _parameters(answers, num, chosen))
        return batching.first_rows(found, num, answers.tables)

    outputs = predict.get_concrete_function().structured_outputs
    given = [
        tf.TensorSpec([None, None, None, outputs[name].shape[-1]], outputs[name].dtype, name=name)
        for name in answers.given
    ]
    return functions | {
        "serving_default_tuned": (of_pixels, [*signatures.IMAGE, *tuned]),
        "serving_bytes_tuned": (of_bytes, [*signatures.IMAGE_BYTES, *tuned]),
        "group": (group, [*given, *tuned]),
    }


def _parameters(
    answers: Answers, num: tf.Tensor, chosen: tuple[tf.Tensor, ...]
) -> dict[str, tf.Tensor]:
    """Returns the parameters of N pictures, of one at least: as chosen, else the run's own."""
    own = {
        name: tf.fill([tf.maximum(num, 1)], parameter.default)
        for name, parameter in answers.parameters.items()
    }
    for name, values in zip(answers.parameters, chosen, strict=False):
        parameter = answers.parameters[name]
        checks = [
            tf.debugging.Assert(
                tf.shape(values)[0] == num, [f"{name} must have one value a picture, got", values]
            ),
            tf.debugging.Assert(
                tf.reduce_all(parameter.check(values)),
                [f"{name} is outside its range ({parameter.meaning}), got", values],
            ),
        ]
        with tf.control_dependencies(checks):
            own[name] = tf.concat([parameter.convert(values), own[name][num:]], axis=0)
    return own


def _encoded_rows(
    answers: Answers,
    predict: Callable,
    respond: Callable,
    image_bytes: tf.Tensor,
    parameters: dict[str, tf.Tensor],
) -> dict[str, tf.Tensor]:
    """Returns the answers to encoded pictures, of one at least: maps as PNG, some stacked too."""

    def row(arguments: tuple[tf.Tensor, dict]) -> dict[str, tf.Tensor]:
        png, chosen = arguments
        image = decode_rgb(png)
        one = {name: x[tf.newaxis] for name, x in chosen.items()}
        found = {name: x[0] for name, x in respond(predict(image[tf.newaxis]), one).items()}
        for name, code in answers.maps.items():
            found[f"{name}_bytes"] = code.encode(found.pop(name))
        for name in answers.unencoded:
            del found[name]
        return {**found, "height": tf.shape(image)[0], "width": tf.shape(image)[1]}

    rows = tf.map_fn(
        row,
        (batching.at_least_one_png(image_bytes), parameters),
        fn_output_signature=_row_specs(answers, predict, respond),
        parallel_iterations=1,  # the memory of one picture at a time
    )
    # The maps wait as PNG until the largest size is known: pictures need no second decoding.
    for name, code in answers.maps.items():
        if code.stacked:
            sides = rows["height"], rows["width"]
            rows[name] = batching.stack_maps(rows[f"{name}_bytes"], *sides, code.stacked)
    return rows


def _row_specs(answers: Answers, predict: Callable, respond: Callable) -> dict[str, tf.TensorSpec]:
    """Returns what one row of encoded pictures holds, as the answer itself declares it."""
    predicted = predict.get_concrete_function().structured_outputs
    parameters = {
        name: tf.TensorSpec([None], parameter.default.dtype)
        for name, parameter in answers.parameters.items()
    }
    specs = {name: tf.TensorSpec(x.shape, x.dtype) for name, x in predicted.items()}
    outputs = respond.get_concrete_function(specs, parameters).structured_outputs
    left_out = (*answers.maps, *answers.unencoded)
    return {
        **{k: tf.TensorSpec(x.shape[1:], x.dtype) for k, x in outputs.items() if k not in left_out},
        **{f"{name}_bytes": tf.TensorSpec([], tf.string) for name in answers.maps},
        **{name: tf.TensorSpec([], tf.int32) for name in ("height", "width")},
    }
