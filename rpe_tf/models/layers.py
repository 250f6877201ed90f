"""Thin Keras layers over `rpe_tf.core`, and the two that let a net take any picture size."""

import math

import keras
import tensorflow as tf

from rpe_tf.core.cross_entropy import cross_entropy
from rpe_tf.core.grouping_loss import check_map_arguments, map_grouping_loss
from rpe_tf.core.logistic_loss import balanced_logistic_loss
from rpe_tf.core.mean_shift import check_grouping_arguments
from rpe_tf.core.pair_loss import check_loss_arguments
from rpe_tf.core.sphere import normalize
from rpe_tf.core.tiled_mean_shift import tiled_mean_shift

SCALINGS = ("unit", "imagenet", "picture")

# Grey levels: a picture of less contrast is noise, which is not blown up any further.
_LEAST_DEVIATION = 4.0

# Of the ImageNet training set, in [0, 255]: "caffe" of keras.applications.imagenet_utils.
_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


@keras.utils.register_keras_serializable("rpe_tf")
class ScaleAndPad(keras.layers.Layer):
    """uint8 picture [B, H, W, 3] to float, padded right and below to a multiple.

    Inside the model, so that training, evaluation and export cannot differ in it. The padding
    repeats the last row and column: a fill of any one colour would be an edge beside the border.
    """

    def __init__(self, multiple: int, scaling: str = "unit", **kwargs) -> None:
        """Sets the multiple that both sides are padded to, in pixels, and the scaling.

        "unit": to [−1, 1]. "imagenet": blue, green, red, less their means, not scaled, as the
        ResNet weights of keras.applications expect. "picture": to mean 0 and deviation 1 of each
        picture, for pictures that are dark or bright as a whole. Raises ValueError if it is none.
        """
        super().__init__(**kwargs)
        if scaling not in SCALINGS:
            raise ValueError(f"scaling must be one of {SCALINGS}, got {scaling!r}")
        self.multiple = multiple
        self.scaling = scaling

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Returns [B, H', W', 3] in the layer's compute dtype."""
        shape = tf.shape(image)
        scaled = self._scale(tf.cast(image, tf.float32))
        scaled = tf.cast(scaled, self.compute_dtype)
        for axis in (1, 2):
            # Not -shape % multiple: converters take the sign of a remainder from its dividend.
            padded = (shape[axis] + self.multiple - 1) // self.multiple * self.multiple
            scaled = tf.gather(scaled, tf.minimum(tf.range(padded), shape[axis] - 1), axis=axis)
        return scaled

    def _scale(self, image: tf.Tensor) -> tf.Tensor:
        if self.scaling == "unit":
            return image / 127.5 - 1.0
        if self.scaling == "imagenet":
            return image[..., ::-1] - tf.constant(_IMAGENET_MEAN_BGR)
        centred = image - tf.reduce_mean(image, axis=[1, 2, 3], keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=[1, 2, 3], keepdims=True)
        return centred / tf.maximum(tf.sqrt(variance), _LEAST_DEVIATION)

    def compute_output_shape(self, shape: tuple) -> tuple:
        """Returns the static shape of the result; None where it depends on the picture."""
        sides = [
            None if side is None else -(-side // self.multiple) * self.multiple
            for side in shape[1:3]
        ]
        return (shape[0], *sides, shape[3])

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "multiple": self.multiple, "scaling": self.scaling}


@keras.utils.register_keras_serializable("rpe_tf")
class Grow(keras.layers.Layer):
    """Features [B, H', W', C] of a stride to the resolution of the picture, bilinear.

    Feature k of a row stands on pixel stride · k, since every convolution of a backbone is centred;
    Keras' UpSampling2D would place it (stride − 1)/2 pixels further, and fails on unknown sides.
    """

    def __init__(self, stride: int, **kwargs) -> None:
        """Sets the stride, in pixels, ≥ 1."""
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Returns [B, stride · H', stride · W', C]; beyond the last feature it is repeated."""
        if self.stride == 1:
            return features
        repeated = tf.concat([features, features[:, -1:]], axis=1)
        repeated = tf.concat([repeated, repeated[:, :, -1:]], axis=2)
        sides = tf.shape(features)[1:3] * self.stride
        grown = tf.raw_ops.ResizeBilinear(images=repeated, size=sides + 1, align_corners=True)
        # It returns float32 whatever it is given.
        return tf.cast(grown[:, :-1, :-1], features.dtype)

    def compute_output_shape(self, shape: tuple) -> tuple:
        """Returns the sides times the stride."""
        sides = [None if side is None else side * self.stride for side in shape[1:3]]
        return (shape[0], *sides, shape[3])

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "stride": self.stride}


@keras.utils.register_keras_serializable("rpe_tf")
class Crop(keras.layers.Layer):
    """Features [B, H', W', C] to the picture's own size, [B, H, W, C]."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Returns the features; inputs are the features and the picture that gives the size."""
        features, image = inputs
        shape = tf.shape(image)
        return features[:, : shape[1], : shape[2]]

    def compute_output_shape(self, shapes: list[tuple]) -> tuple:
        """Returns the picture's sides and the features' depth."""
        features, image = shapes
        return (*image[:3], features[-1])


@keras.utils.register_keras_serializable("rpe_tf")
class CropAndNormalize(keras.layers.Layer):
    """Features [B, H', W', D] to unit embeddings [B, H, W, D] of the picture's own size.

    Always float32: at concentration 36 half precision rounds neighbouring embeddings together.
    """

    def __init__(self, **kwargs) -> None:
        """Fixes float32 whatever the precision policy of the net."""
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Returns the embedding; inputs are the features and the picture that gives the size."""
        features, image = inputs
        shape = tf.shape(image)
        return normalize(tf.cast(features, tf.float32)[:, : shape[1], : shape[2]])

    def compute_output_shape(self, shapes: list[tuple]) -> tuple:
        """Returns the picture's sides and the features' depth."""
        features, image = shapes
        return (*image[:3], features[-1])


@keras.utils.register_keras_serializable("rpe_tf")
class MeanShift(keras.layers.Layer):
    """Groups embeddings [B, N, D] by num_loops loops of mean shift (Eq. 3), tile by tile."""

    def __init__(
        self, concentration: float, num_loops: int = 1, step_size: float = 1.0, **kwargs
    ) -> None:
        """Sets κ > 0, T ≥ 0 and η in (0, 1]; raises ValueError outside these."""
        super().__init__(**kwargs)
        check_grouping_arguments(concentration, num_loops, step_size)
        self.concentration = concentration
        self.num_loops = num_loops
        self.step_size = step_size

    def call(self, embedding: tf.Tensor) -> tf.Tensor:
        """Returns the points after the last loop, [B, N, D]."""
        return tiled_mean_shift(embedding, self.concentration, self.num_loops, self.step_size)

    def compute_output_shape(self, shape: tuple) -> tuple:
        """Returns the shape unchanged."""
        return shape

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        names = ("concentration", "num_loops", "step_size")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.utils.register_keras_serializable("rpe_tf")
class EmbeddingLoss(keras.layers.Layer):
    """Adds the loss of §4.2 to the model, and returns it per image and loop, [B, T + 1].

    `model.fit` trains on what is added (the mean over images); a loop of one's own takes what is
    returned, which it can divide by the number of images over all replicas.

    With learn_grouping the layer has weights: κ = κ_0 exp(a) and, where η_0 < 1, η = sigmoid(b +
    logit η_0), with a and b 0 at the start, so that weight decay pulls to the values given and not
    to a κ of 1. η_0 = 1 is the end of its range and stays. A read-out that shall group as the loss
    did takes `float(layer.concentration)` and `float(layer.step_size)`.
    """

    def __init__(
        self, loss_arguments: dict, weight: float = 1.0, learn_grouping: bool = False, **kwargs
    ) -> None:
        """Takes the keyword arguments of `map_grouping_loss` (margin, …), a factor, and whether
        κ and η are learned. Raises ValueError if an argument is outside its range."""
        super().__init__(**{"dtype": "float32", **kwargs})
        given = loss_arguments.get
        step_size = given("step_size", 1.0)
        check_loss_arguments(
            loss_arguments["margin"], given("normalizer", "groups"), given("radius")
        )
        check_grouping_arguments(
            loss_arguments["concentration"], loss_arguments["num_loops"], step_size
        )
        check_map_arguments(**loss_arguments)
        self.loss_arguments = dict(loss_arguments)
        self.weight = weight
        self.learn_grouping = learn_grouping
        self._log_factor = self._logit_shift = None
        if learn_grouping:
            self._log_factor = self.add_weight(
                name="log_concentration_factor", shape=(), initializer="zeros"
            )
            if step_size < 1:
                self._logit_shift = self.add_weight(
                    name="step_size_logit_shift", shape=(), initializer="zeros"
                )

    @property
    def concentration(self) -> float | tf.Tensor:
        """κ of the grouping, as given or, a scalar tensor, as learned so far."""
        given = self.loss_arguments["concentration"]
        if self._log_factor is None:
            return given
        return given * tf.exp(tf.convert_to_tensor(self._log_factor))

    @property
    def step_size(self) -> float | tf.Tensor:
        """η of the grouping, as given or, a scalar tensor, as learned so far."""
        given = self.loss_arguments.get("step_size", 1.0)
        if self._logit_shift is None:
            return given
        logit = math.log(given / (1.0 - given))
        return tf.sigmoid(logit + tf.convert_to_tensor(self._logit_shift))

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Returns the losses; inputs: embedding [B, H, W, D], instance [B, H, W], seed [B, 2]."""
        learned = {"concentration": self.concentration, "step_size": self.step_size}
        losses = map_grouping_loss(*inputs, **{**self.loss_arguments, **learned})
        losses *= self.weight
        self.add_loss(tf.reduce_mean(tf.reduce_sum(losses, axis=-1)))
        return losses

    def compute_output_shape(self, shapes: list[tuple]) -> tuple:
        """Returns [B, T + 1]."""
        return (shapes[0][0], self.loss_arguments["num_loops"] + 1)

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        names = ("loss_arguments", "weight", "learn_grouping")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.utils.register_keras_serializable("rpe_tf")
class LogisticLoss(keras.layers.Layer):
    """Adds the class-balanced logistic loss of several logits, and returns it, [B, L] (§5.2)."""

    def __init__(self, **kwargs) -> None:
        """Fixes float32 whatever the precision policy of the net."""
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Returns the losses; inputs: logit [B, H, W, L], label [B, H, W]: 1, 0 or −1 (void)."""
        logit, label = inputs
        batch = tf.shape(label)[0]
        label = tf.reshape(label, [batch, -1])
        losses = [
            balanced_logistic_loss(tf.reshape(x, [batch, -1]), label)
            for x in tf.unstack(logit, axis=-1)
        ]
        losses = tf.stack(losses, axis=-1)
        self.add_loss(tf.reduce_mean(tf.reduce_sum(losses, axis=-1)))
        return losses

    def compute_output_shape(self, shapes: list[tuple]) -> tuple:
        """Returns [B, L]."""
        return (shapes[0][0], shapes[0][-1])


@keras.utils.register_keras_serializable("rpe_tf")
class CrossEntropyLoss(keras.layers.Layer):
    """Adds the cross-entropy of the classes to the model, and returns it, [B, 1] (§5.4)."""

    def __init__(self, weight: float = 1.0, **kwargs) -> None:
        """Sets the factor on the loss; float32 whatever the precision policy of the net."""
        super().__init__(**{"dtype": "float32", **kwargs})
        self.weight = weight

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Returns the losses; inputs: logit [B, H, W, C], semantic [B, H, W]."""
        logit, semantic = inputs
        batch, num_classes = tf.shape(semantic)[0], logit.shape[-1]
        losses = self.weight * cross_entropy(
            tf.reshape(logit, [batch, -1, num_classes]), tf.reshape(semantic, [batch, -1])
        )
        self.add_loss(tf.reduce_mean(losses))
        return losses[:, tf.newaxis]

    def compute_output_shape(self, shapes: list[tuple]) -> tuple:
        """Returns [B, 1]."""
        return (shapes[0][0], 1)

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "weight": self.weight}
