"""How far a model sees: which pixels of a picture an answer at one pixel depends on.

Walks the layers of a model from the picture to its outputs. A feature of stride s stands on pixel
s · k and sees the pixels from s · k − before to s · k + after; each layer widens that.
"""

from typing import NamedTuple

import keras

from rpe_tf.models.layers import Grow, ScaleAndPad
from rpe_tf.models.position import PositionChannels

_WINDOWS = (keras.layers.Conv2D, keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


class ReceptiveField(NamedTuple):
    """What an answer at one pixel depends on."""

    radius_px: int  # pixels to each side, at the most
    multiple_px: int  # a window that begins at a multiple of it is seen as the picture would be
    beyond: tuple[str, ...]  # what the answer depends on beside that, in words; empty: nothing


class _Sight(NamedTuple):
    stride: int
    before: int
    after: int


def receptive_field(model: keras.Model) -> ReceptiveField:
    """Returns how far a model of `build` sees.

    Layers that the builders do not use count as ones that look at a pixel alone.
    """
    seen = {id(model.inputs[0]): _Sight(1, 0, 0)}
    beyond, multiple = [], 1
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        sights = [seen[id(x)] for x in _as_list(layer.input)]
        strides = [sight.stride for sight in sights]
        if isinstance(layer, ScaleAndPad):
            multiple = layer.multiple
        reason = _beyond(layer)
        if reason and reason not in beyond:
            beyond.append(reason)
        widest = _Sight(
            # The picture stands beside features only to say how large they are to be cropped.
            max(strides),
            max(sight.before for sight in sights),
            max(sight.after for sight in sights),
        )
        for output in _as_list(layer.output):
            seen[id(output)] = _through(layer, widest)
    ends = [seen[id(x)] for x in model.outputs]
    radius = max(max(end.before, end.after) for end in ends)
    return ReceptiveField(radius, multiple, tuple(beyond))


def _through(layer: keras.layers.Layer, sight: _Sight) -> _Sight:
    """Returns what the outputs of a layer see, whose inputs see this."""
    stride, before, after = sight
    if isinstance(layer, _WINDOWS):
        return _through_window(layer, sight)
    if isinstance(layer, keras.layers.ZeroPadding2D):
        # Output k is input k − padding.
        padding = layer.padding[0][0] * stride
        return _Sight(stride, before + padding, after - padding)
    if isinstance(layer, keras.layers.UpSampling2D):
        factor = layer.size[0]
        fine = stride // factor
        # Output j is input j // factor, which stands up to factor − 1 outputs before it.
        return _Sight(fine, before + (factor - 1) * fine, after)
    if isinstance(layer, Grow):
        # Between two features both count: the one before and the one after.
        reach = layer.stride - 1
        return _Sight(stride // layer.stride, before + reach, after + reach)
    return sight


def _through_window(layer: keras.layers.Layer, sight: _Sight) -> _Sight:
    """Returns what the outputs of a convolution or pooling see."""
    stride, before, after = sight
    if isinstance(layer, keras.layers.Conv2D):
        size, dilation = layer.kernel_size[0], layer.dilation_rate[0]
    else:
        size, dilation = layer.pool_size[0], 1
    step = layer.strides[0]
    reach = (size - 1) * dilation
    # Inputs are padded to multiples of every stride, so "same" pads all sizes alike.
    first = max(reach + 1 - step, 0) // 2 if layer.padding == "same" else 0
    return _Sight(stride * step, before + first * stride, after + (reach - first) * stride)


def _beyond(layer: keras.layers.Layer) -> str:
    """Returns what a layer makes every answer depend on, other than pixels nearby; else ""."""
    if isinstance(layer, ScaleAndPad) and layer.scaling == "picture":
        return "mean and deviation of the picture"
    if isinstance(layer, PositionChannels):
        return "the position in the picture"
    if isinstance(layer, keras.layers.GroupNormalization):
        return "moments of features over the picture"
    if isinstance(layer, keras.layers.GlobalAveragePooling2D):
        return "mean features of the picture"
    return ""


def _as_list(tensors: object) -> list:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]
