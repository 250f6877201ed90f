"""The builders: each model one visible composition."""

import keras

from rpe_tf.models.backbone import backbone_stages
from rpe_tf.models.heads import class_head, deeplab_head, embedding_head
from rpe_tf.models.layers import (
    CropAndNormalize,
    CrossEntropyLoss,
    EmbeddingLoss,
    Grow,
    LogisticLoss,
)


def embedding_model(
    embedding_dim: int,
    *,
    backbone: str = "encoder_decoder",
    position: str = "none",
    wavelengths: tuple[float, float] = (24.0, 384.0),
    **arguments: object,
) -> keras.Model:
    """Returns the model image → embedding; any picture size, padded inside and cropped back.

    Args:
      embedding_dim: D ≥ 2.
      backbone: one of `backbone.BACKBONES`.
      position: one of `position.POSITIONS`: what the net is told of where a pixel lies.
      wavelengths: of that, shortest and longest, in pixels.
      **arguments: of the backbone, see `backbone_stages`.

    Returns:
      Keras functional model: `image` [B, H, W, 3] uint8 → [B, H, W, D] float32 unit vectors.

    Raises:
      ValueError: if embedding_dim < 2, or as `backbone_stages`.
    """
    image = keras.Input([None, None, 3], dtype="uint8", name="image")
    where = {"position": position, "wavelengths": wavelengths}
    _, x, stride = backbone_stages(image, backbone, **where, **arguments)[-1]
    embedding = embedding_head(x, stride, image, embedding_dim, **where)
    return keras.Model(image, embedding, name="embedding_model")


def semantic_model(
    embedding_dim: int,
    num_classes: int,
    *,
    backbone: str,
    head_channels: int = 256,
    position: str = "none",
    wavelengths: tuple[float, float] = (24.0, 384.0),
    **arguments: object,
) -> keras.Model:
    """Returns the model of §5.4: classes and embedding on shared features.

    Of a ResNet these are those of DeepLab-v3's head, of the encoder-decoder its own: they have
    seen all scales already, and such a head at full resolution would cost more than the net.

    Args:
      embedding_dim: D ≥ 2.
      num_classes: C ≥ 2, background included.
      backbone: one of `backbone.BACKBONES`.
      head_channels: of DeepLab-v3's head, a multiple of 8.
      position: as `embedding_model`.
      wavelengths: as `embedding_model`.
      **arguments: of the backbone, see `backbone_stages`.

    Returns:
      Keras functional model: `image` [B, H, W, 3] uint8 → dict of `embedding` [B, H, W, D] float32,
      unit vectors, and `logit` [B, H, W, C] float32, class 0 the background.

    Raises:
      ValueError: if embedding_dim or num_classes is below 2, or as `backbone_stages`.
    """
    image = keras.Input([None, None, 3], dtype="uint8", name="image")
    where = {"position": position, "wavelengths": wavelengths}
    _, x, stride = backbone_stages(image, backbone, **where, **arguments)[-1]
    if backbone != "encoder_decoder":
        norm = arguments.get("norm", "batch")
        # New layers do not learn under moments that nobody has measured.
        norm = "group" if norm == "frozen_batch" else norm
        x = deeplab_head(x, stride, head_channels, norm)
    outputs = {
        "embedding": embedding_head(x, stride, image, embedding_dim, **where),
        "logit": class_head(x, stride, image, num_classes),
    }
    return keras.Model(image, outputs, name="semantic_model")


def boundary_model(embedding_dim: int, *, backbone: str, **arguments: object) -> keras.Model:
    """Returns the model of §5.2: a branch on each stage, a logistic layer a branch, and a fusion.

    Args:
      embedding_dim: D of each branch, ≥ 2; 3 in the paper.
      backbone: a ResNet of `backbone.BACKBONES`.
      **arguments: of the backbone, see `backbone_stages`.

    Returns:
      Keras functional model: `image` [B, H, W, 3] uint8 → dict of `embedding` [B, H, W, 4 · D]
      float32, the unit vectors of stages 2 to 5 one after the other, and `logit` [B, H, W, 5]
      float32 of a boundary, by the four branches and by the fusion of them all.

    Raises:
      ValueError: if embedding_dim < 2, the backbone has a single stage, or as `backbone_stages`.
    """
    _check_embedding_dim(embedding_dim)
    image = keras.Input([None, None, 3], dtype="uint8", name="image")
    stages = backbone_stages(image, backbone, **arguments)
    if len(stages) == 1:
        raise ValueError(f"boundaries need a backbone of several stages, got {backbone!r}")
    embeddings = []
    for name, x, stride in stages:
        x = keras.layers.Conv2D(embedding_dim, 1, name=f"branch{name}_conv")(x)
        x = Grow(stride, name=f"branch{name}_grow")(x)
        embeddings.append(CropAndNormalize(name=f"branch{name}")([x, image]))
    embedding = keras.layers.Concatenate(name="embedding", dtype="float32")(embeddings)
    logits = [
        keras.layers.Conv2D(1, 1, name=f"logit{stage.name}", dtype="float32")(x)
        for stage, x in zip(stages, embeddings, strict=True)
    ]
    logits.append(keras.layers.Conv2D(1, 1, name="fusion", dtype="float32")(embedding))
    logit = keras.layers.Concatenate(name="logit", dtype="float32")(logits)
    return keras.Model(image, {"embedding": embedding, "logit": logit}, name="boundary_model")


def training_model(
    model: keras.Model, loss_arguments: dict, embedding_only: bool = False
) -> keras.Model:
    """Returns the model a training step calls: an embedding model and the loss layer on top.

    Args:
      model: image → embedding.
      loss_arguments: keyword arguments of `rpe_tf.core.grouping_loss.map_grouping_loss`, and
        `learn_grouping` of `EmbeddingLoss`.
      embedding_only: whether to leave out the losses after loops, T = 0.

    Returns:
      Keras functional model: dict of `image` [B, H, W, 3] uint8, `instance` [B, H, W] int32 and
      `seed` [B, 2] int32 → losses [B, T + 1], a column for each loop. Shares model's weights.
    """
    inputs = _training_inputs(model, "instance")
    layer = _embedding_loss(loss_arguments, embedding_only)
    losses = layer([model.output, inputs["instance"], inputs["seed"]])
    return keras.Model(inputs, losses, name="training_model")


def boundary_training_model(
    model: keras.Model, loss_arguments: dict, embedding_only: bool = False
) -> keras.Model:
    """Returns the model a training step calls: a boundary model and one of its two losses (§5.2).

    Args:
      model: of `boundary_model`.
      loss_arguments: as `training_model`; there is no grouping, num_loops counts as 0.
      embedding_only: phase one, Eq. 2 of every branch for the two groups boundary and not; else
        phase two, the logistic loss of every branch and of the fusion.

    Returns:
      Keras functional model: dict of `image` [B, H, W, 3] uint8, `boundary` [B, H, W] int32 (1
      boundary, 0 none, −1 void) and `seed` [B, 2] int32 → losses [B, 4] or [B, 5].
    """
    inputs = _training_inputs(model, "boundary")
    if not embedding_only:
        losses = LogisticLoss(name="logistic_loss")([model.output["logit"], inputs["boundary"]])
        return keras.Model(inputs, losses, name="training_model")
    branches = [x for x in model.layers if isinstance(x, CropAndNormalize)]
    losses = [
        _embedding_loss(loss_arguments, True, name=f"{branch.name}_loss")(
            [branch.output, inputs["boundary"], inputs["seed"]]
        )
        for branch in branches
    ]
    losses = keras.layers.Concatenate(name="losses", dtype="float32")(losses)
    return keras.Model(inputs, losses, name="training_model")


def semantic_training_model(
    model: keras.Model, loss_arguments: dict, embedding_only: bool = False
) -> keras.Model:
    """Returns the model a training step calls: a semantic model and both of its losses (§5.4).

    Args:
      model: of `semantic_model`.
      loss_arguments: `cross_entropy_weight` and `embedding_weight`, factors ≥ 0 on the losses, 0:
        without that loss; the others as `training_model`.
      embedding_only: whether to leave out the losses after loops, T = 0.

    Returns:
      Keras functional model: dict of `image` [B, H, W, 3] uint8, `instance` and `semantic` [B, H,
      W] int32 and `seed` [B, 2] int32 → losses [B, 2 + T]: the cross-entropy, then as
      `training_model`; without either loss its columns are missing.
    """
    inputs = _training_inputs(model, "instance", "semantic")
    grouping_arguments = dict(loss_arguments)
    weight = grouping_arguments.pop("cross_entropy_weight")
    embedding_weight = grouping_arguments.pop("embedding_weight")
    losses = []
    if weight:
        losses.append(
            CrossEntropyLoss(weight, name="cross_entropy")(
                [model.output["logit"], inputs["semantic"]]
            )
        )
    if embedding_weight:
        layer = _embedding_loss(grouping_arguments, embedding_only, embedding_weight)
        losses.append(layer([model.output["embedding"], inputs["instance"], inputs["seed"]]))
    losses = keras.layers.Concatenate(name="losses", dtype="float32")(losses)
    return keras.Model(inputs, losses, name="training_model")


def learned_grouping(model: keras.Model) -> EmbeddingLoss | None:
    """Returns the layer of a training model that learns κ and η, None where none does."""
    return next((x for x in model.layers if getattr(x, "learn_grouping", False)), None)


def _embedding_loss(
    loss_arguments: dict, embedding_only: bool, weight: float = 1.0, name: str = "embedding_loss"
) -> EmbeddingLoss:
    """Returns the loss layer; without loops nothing of the grouping can be learned."""
    arguments = dict(loss_arguments)
    learn_grouping = arguments.pop("learn_grouping", False) and not embedding_only
    if embedding_only:
        arguments["num_loops"] = 0
    return EmbeddingLoss(arguments, weight, learn_grouping, name=name)


def _training_inputs(model: keras.Model, *labels: str) -> dict:
    return {
        "image": model.input,
        **{label: keras.Input([None, None], dtype="int32", name=label) for label in labels},
        "seed": keras.Input([2], dtype="int32", name="seed"),
    }


def _check_embedding_dim(embedding_dim: int) -> None:
    if embedding_dim < 2:
        raise ValueError(f"embedding_dim must be at least 2, got {embedding_dim}")
