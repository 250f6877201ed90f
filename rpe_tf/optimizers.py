"""Optimizers by name, on the poly learning rate of §5.1."""

import inspect

import keras


def make_optimizer(
    name: str,
    learning_rate: float,
    num_steps: int,
    *,
    weight_decay: float,
    momentum: float,
    average_momentum: float | None = None,
) -> keras.optimizers.Optimizer:
    """Returns an optimizer on the poly rate lr · (1 − step/num_steps)^0.9 (§5.1).

    Args:
      name: "sgd", "adam", "adamw", or with tensorflow-addons installed one of its optimizers by
        its class name, for example "LAMB".
      learning_rate: at step 0, > 0.
      num_steps: the step at which the rate reaches 0.
      weight_decay: share of lr by which weights shrink a step, ≥ 0; not for "adam". An optimizer
        of tensorflow-addons that takes a weight decay gets it as its own.
      momentum: of "sgd", in [0, 1).
      average_momentum: of a running mean of the weights, in (0, 1), which the optimizer's
        `finalize_variable_values` puts in their place; None for none.

    Raises:
      ValueError: if the name is unknown, or a mean is asked of tensorflow-addons.
    """
    rate = keras.optimizers.schedules.PolynomialDecay(
        learning_rate, num_steps, end_learning_rate=0.0, power=0.9
    )
    decay = weight_decay or None
    average = {}
    if average_momentum:
        average = {"use_ema": True, "ema_momentum": average_momentum}
    if name == "sgd":
        return keras.optimizers.SGD(rate, momentum=momentum, weight_decay=decay, **average)
    if name == "adam":
        return keras.optimizers.Adam(rate, **average)
    if name == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=weight_decay, **average)
    if average:
        raise ValueError(f"--average_momentum is for sgd, adam and adamw, got {name!r}")
    return _addons_optimizer(name, rate, weight_decay)


def _addons_optimizer(name: str, rate: object, weight_decay: float) -> keras.optimizers.Optimizer:
    known = "sgd, adam and adamw"
    try:
        import tensorflow_addons as tfa
    except ImportError as error:
        raise ValueError(
            f"optimizer must be one of {known}, got {name!r}; the optimizers of "
            "tensorflow-addons need Python 3.10 or 3.11 and `pip install .[addons]`"
        ) from error
    if not name[:1].isupper() or not hasattr(tfa.optimizers, name):
        raise ValueError(
            f"optimizer must be one of {known} or a class of tfa.optimizers, got {name!r}"
        )
    optimizer_class = getattr(tfa.optimizers, name)
    takes = inspect.signature(optimizer_class).parameters
    # Some wrap another optimizer, some need a weight decay that is no share of the rate.
    needs = {
        p.name for p in takes.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    }
    if "learning_rate" not in takes or needs - {"learning_rate"}:
        raise ValueError(
            f"optimizer must be one of {known} or a class of tfa.optimizers that a learning rate "
            f"is enough for, such as LAMB; got {name!r}"
        )
    decay = {"weight_decay": weight_decay} if "weight_decay" in takes else {}
    return optimizer_class(learning_rate=rate, **decay)
