"""The builders: each model one visible composition."""

import keras

from rpe_tf.models.encoder_decoder import encoder_decoder
from rpe_tf.models.layers import CropAndNormalize, EmbeddingLoss, ScaleAndPad


def embedding_model(
    embedding_dim: int,
    *,
    width: int = 24,
    num_levels: int = 4,
    num_blocks: int = 2,
    norm: str = "batch",
) -> keras.Model:
    """Returns the model image → embedding; any picture size, padded inside and cropped back.

    Args:
      embedding_dim: D ≥ 2.
      width: channels at full resolution, a multiple of 8.
      num_levels: resolutions, each half of the one before.
      num_blocks: residual blocks a level.
      norm: "batch", "group" or "frozen_batch".

    Returns:
      Keras functional model: `image` [B, H, W, 3] uint8 → [B, H, W, D] float32 unit vectors.

    Raises:
      ValueError: if embedding_dim < 2, or as `encoder_decoder`.
    """
    if embedding_dim < 2:
        raise ValueError(f"embedding_dim must be at least 2, got {embedding_dim}")
    image = keras.Input([None, None, 3], dtype="uint8", name="image")
    x = ScaleAndPad(2 ** (num_levels - 1), name="scale_and_pad")(image)
    x = encoder_decoder(x, width, num_levels, num_blocks, norm)
    x = keras.layers.Conv2D(embedding_dim, 1, name="embedding_conv")(x)
    return keras.Model(
        image, CropAndNormalize(name="embedding")([x, image]), name="embedding_model"
    )


def training_model(model: keras.Model, loss_arguments: dict) -> keras.Model:
    """Returns the model a training step calls: an embedding model and the loss layer on top.

    Args:
      model: image → embedding.
      loss_arguments: keyword arguments of `rpe_tf.core.grouping_loss.grouping_loss`.

    Returns:
      Keras functional model: dict of `image` [B, H, W, 3] uint8, `instance` [B, H, W] int32 and
      `seed` [B, 2] int32 → losses [B, T + 1], a column for each loop. Shares model's weights.
    """
    inputs = {
        "image": model.input,
        "instance": keras.Input([None, None], dtype="int32", name="instance"),
        "seed": keras.Input([2], dtype="int32", name="seed"),
    }
    losses = EmbeddingLoss(loss_arguments, name="embedding_loss")(
        [model.output, inputs["instance"], inputs["seed"]]
    )
    return keras.Model(inputs, losses, name="training_model")
