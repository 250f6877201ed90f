"""The flags of the optimisation and of how it runs, the same for every task."""

import tensorflow as tf
from absl import flags

from rpe_tf.train_step import StepOptions

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

_EMBEDDING_ONLY_FRACTION = flags.DEFINE_float(
    "embedding_only_fraction",
    0.0,
    "Share in [0, 1] of the steps, at the start, that train the embedding alone: with T = 0, for "
    "boundaries before the logistic layers (§5.2).",
    *(0, 1),
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    16,
    "Pictures a step, over all replicas and parts. The learning rate is taken as given: scale it "
    "with the batch yourself.",
    lower_bound=1,
)
_NUM_PARTS = flags.DEFINE_integer(
    "num_parts",
    1,
    "Parts that a replica goes through a batch in, adding up gradients: 4 with --batch_size=4 is "
    "the paper's one picture at a time. Takes the memory of a part.",
    lower_bound=1,
)
_NUM_STEPS = flags.DEFINE_integer("num_steps", 1500, "Steps, at the end of all resumes.", 1)
_OPTIMIZER = flags.DEFINE_string(
    "optimizer", "adamw", "sgd, adam, adamw, or a class of tensorflow-addons such as LAMB."
)
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", 5e-3, "At the first step, > 0; falls to 0 by the poly rate (§5.1).", 0
)
_MOMENTUM = flags.DEFINE_float("momentum", 0.9, "Of sgd, in [0, 1).", 0, 1)
_WEIGHT_DECAY = flags.DEFINE_float(
    "weight_decay", 5e-4, "Times the learning rate: share by which weights shrink a step.", 0
)
_CLIP_NORM = flags.DEFINE_float(
    "clip_norm",
    None,
    "Longest gradient, > 0, over all weights; longer ones are shortened to it.",
    0,
)
_AVERAGE_MOMENTUM = flags.DEFINE_float(
    "average_momentum",
    None,
    "Of a running mean of the weights, in (0, 1), such as 0.999: the last checkpoint holds it. By "
    "default none.",
    *(0, 1),
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    PRECISIONS,
    "Of the net; embedding, grouping and losses are float32 always. mixed_float16 scales the loss.",
)
_JIT_COMPILE = flags.DEFINE_bool("jit_compile", False, "Compile losses and gradients by XLA.")
_STEPS_PER_CALL = flags.DEFINE_integer(
    "steps_per_call", 1, "Steps made without coming back to Python.", lower_bound=1
)
_ON_NON_FINITE = flags.DEFINE_enum(
    "on_non_finite",
    "stop",
    ["stop", "skip"],
    "Of a step with a loss or gradient that is NaN or infinite. It changes no weight in any case.",
)

_REQUIRE_GPU = flags.DEFINE_bool(
    "require_gpu", False, "Refuse to train where TensorFlow sees no GPU, instead of on the CPU."
)


def check_devices() -> None:
    """Returns nothing.

    Raises:
      ValueError: if a GPU is required and none is seen.
    """
    if _REQUIRE_GPU.value and not tf.config.list_physical_devices("GPU"):
        raise ValueError(
            "TensorFlow sees no GPU; `python -m rpe_tf.doctor_main` says what is there, and "
            "--norequire_gpu trains on the CPU"
        )


def settings_from_flags() -> dict:
    """Returns what a run records of its optimisation.

    Raises:
      ValueError: if flags do not fit each other.
    """
    if _BATCH_SIZE.value % _NUM_PARTS.value:
        raise ValueError(
            f"--batch_size={_BATCH_SIZE.value} cannot go through in {_NUM_PARTS.value} equal parts "
            "(--num_parts)"
        )
    if _CLIP_NORM.value == 0:
        raise ValueError("--clip_norm must be above 0; leave it out to clip nothing")
    return {
        "num_steps": _NUM_STEPS.value,
        "embedding_only_fraction": _EMBEDDING_ONLY_FRACTION.value,
        "batch_size": _BATCH_SIZE.value,
        "num_parts": _NUM_PARTS.value,
        "optimizer": _OPTIMIZER.value,
        "learning_rate": _LEARNING_RATE.value,
        "momentum": _MOMENTUM.value,
        "weight_decay": _WEIGHT_DECAY.value,
        "clip_norm": _CLIP_NORM.value,
        "average_momentum": _AVERAGE_MOMENTUM.value,
        "precision": _PRECISION.value,
        "jit_compile": _JIT_COMPILE.value,
        "steps_per_call": _STEPS_PER_CALL.value,
        "on_non_finite": _ON_NON_FINITE.value,
    }


def step_options(plan: dict) -> StepOptions:
    """Returns the options of a step, of `settings_from_flags`."""
    return StepOptions(plan["num_parts"], plan["clip_norm"], plan["jit_compile"])
