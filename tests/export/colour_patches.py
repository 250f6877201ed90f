"""Pictures of plain patches, and the training of a model that tells their colours apart.

Between groups that are not clear the rounding of a runtime decides, so only a trained embedding
shows whether it groups as TensorFlow does.
"""

import keras
import numpy as np
import tensorflow as tf

from rpe_tf.core.cross_entropy import cross_entropy
from rpe_tf.core.grouping_loss import grouping_loss

_COLOURS = np.array(
    [[20, 20, 20], [230, 40, 40], [40, 220, 60], [50, 60, 240], [230, 220, 40]], np.uint8
)
_PATCH_PX, _SIDE_PX, _BATCH_SIZE, _NUM_STEPS = 16, 48, 4, 200


def draw_patches(seed, num, height, width):
    """Pictures [num, H, W, 3] uint8 and their colours [num, H, W] int32."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 5, (num, -(-height // _PATCH_PX), -(-width // _PATCH_PX)))
    label = cells.repeat(_PATCH_PX, 1).repeat(_PATCH_PX, 2)[:, :height, :width]
    return _COLOURS[label], label.astype(np.int32)


def train_on_patches(model):
    """Trains the weights of a model of an embedding, with or without classes, in seconds."""
    optimizer = keras.optimizers.Adam(0.01)

    @tf.function
    def step(images, label, seed):
        with tf.GradientTape() as tape:
            output = model(images, training=False)
            has_classes = isinstance(output, dict)
            embedding = output["embedding"] if has_classes else output
            num_pixels = _SIDE_PX * _SIDE_PX
            label = tf.reshape(label, [_BATCH_SIZE, num_pixels])
            points = tf.reshape(embedding, [_BATCH_SIZE, num_pixels, embedding.shape[-1]])
            options = {"margin": 0.2, "num_loops": 1, "concentration": 20.0, "num_pixels": 200}
            loss = tf.reduce_sum(grouping_loss(points, label, seed, **options))
            if has_classes:
                logit = output["logit"]
                logit = tf.reshape(logit, [_BATCH_SIZE, num_pixels, logit.shape[-1]])
                loss += tf.reduce_sum(cross_entropy(logit, label))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    for k in range(_NUM_STEPS):
        images, label = draw_patches(1000 + k, _BATCH_SIZE, _SIDE_PX, _SIDE_PX)
        seed = [[k, j] for j in range(_BATCH_SIZE)]
        step(tf.constant(images), tf.constant(label), tf.constant(seed))
