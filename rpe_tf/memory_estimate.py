"""How much memory a training will take, before its first step, and whether there is as much."""

import keras
import numpy as np
import tensorflow as tf
from absl import logging

# The features of one picture are counted at this size; theirs go with its area.
_PROBE_PX = 64
# Fitted to what tests/benchmarks/bench_memory measures on a CPU: functions and buffers of any
# training; the share of all that layers give that is there at once, for not all of it is kept for
# the gradient; and bytes of a number in half precision, in which some stay float32.
_ANY_TRAINING = 256 * 2**20
_PER_FEATURE = 0.87
_HALF = 3
_FLOAT32 = 4


def estimate_bytes(
    model: keras.Model,
    image_size: tuple[int, int],
    num_images: int,
    *,
    num_pixels: int,
    num_loops: int,
    precision: str = "float32",
) -> int:
    """Returns about how many bytes a training takes on one device, TensorFlow itself left out.

    Features of all layers and their gradients, linear in pixels; weights, gradients and two
    moments of the optimizer; the points of every loop of grouping and their gradients. Grouping
    and pairs work in tiles, so nothing is quadratic in N.

    Args:
      model: image → prediction.
      image_size: height and width of a picture as trained on, in pixels.
      num_images: pictures at once: of a replica and part.
      num_pixels: N that the loss draws a picture, 0: all.
      num_loops: T in the loss.
      precision: of the net, "float32" or a mixed one.
    """
    area = image_size[0] * image_size[1]
    per_picture = _num_features(model) * area / _PROBE_PX**2
    bytes_a_feature = _FLOAT32 if precision == "float32" else _HALF
    features = _PER_FEATURE * bytes_a_feature * per_picture * num_images
    weights = 4 * _FLOAT32 * model.count_params()
    depth = max(output.shape[-1] for output in tf.nest.flatten(model.output))
    points = 2 * (num_loops + 1) * (num_pixels or area) * depth * _FLOAT32 * num_images
    return int(_ANY_TRAINING + features + weights + points)


def _num_features(model: keras.Model) -> int:
    """Returns the numbers that all layers give for one picture of _PROBE_PX squared."""
    outputs = [layer.output for layer in model.layers if not _is_input(layer)]
    every = keras.Model(model.input, tf.nest.flatten(outputs))
    image = tf.zeros([1, _PROBE_PX, _PROBE_PX, 3], tf.uint8)
    shapes = tf.nest.map_structure(lambda x: x.shape, every(image, training=False))
    return sum(int(np.prod(shape)) for shape in shapes)


def _is_input(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.InputLayer)


def available_bytes() -> int | None:
    """Returns the memory that is free: of the smallest GPU, else of this machine or container.

    None where it cannot be told.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        from tensorflow.python.client import device_lib  # TensorFlow says it nowhere else.

        return min(x.memory_limit for x in device_lib.list_local_devices() if "GPU" in x.name)
    limits = [_meminfo_available(), _container_available()]
    return min((x for x in limits if x is not None), default=None)


def check_training(
    model: keras.Model,
    settings: dict,
    num_replicas: int,
    *,
    largest_size: tuple[int, int] | None,
    is_forced: bool,
) -> None:
    """Logs how much memory a training takes; refuses what cannot fit.

    Args:
      model: image → prediction.
      settings: of the run.
      num_replicas: devices that share a batch.
      largest_size: height and width in pixels of pictures that are not cropped, None if unknown:
        nothing is checked then.
      is_forced: only to warn.

    Raises:
      ValueError: if more is needed than is free; says what to lower.
    """
    size = settings["data"]["crop_size"] or largest_size
    if size is None:
        return
    plan, loss = settings["training"], settings["loss"]
    needed = estimate_bytes(
        *(model, size, -(-plan["batch_size"] // (plan["num_parts"] * num_replicas))),
        num_pixels=loss["num_pixels"],
        num_loops=loss["num_loops"],
        precision=plan["precision"],
    )
    check_memory(needed, available_bytes(), is_forced)


def check_memory(needed: int, available: int | None, is_forced: bool) -> None:
    """Logs what is needed beside what is free, in bytes; see `check_training`."""
    there = f"{available / 2**20:,.0f} MiB are free" if available else "free memory is unknown"
    takes = f"about {needed / 2**20:,.0f} MiB a device beside TensorFlow itself; {there}"
    logging.info("training takes %s", takes)
    if available is None or needed <= available:
        return
    message = (
        f"training would take {takes}. Lower --crop_size, --batch_size, --width or --num_pixels, "
        "raise --num_parts or --output_stride"
    )
    if not is_forced:
        raise ValueError(f"{message}; or go on all the same with --nocheck_memory")
    logging.warning("%s", message)


def _meminfo_available() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":") for line in file)
    except OSError:
        return None
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None


def _container_available() -> int | None:
    """Returns what the control group (version 2) of this process still allows."""
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            limit = file.read().strip()
        with open("/sys/fs/cgroup/memory.current", encoding="ascii") as file:
            used = int(file.read())
    except OSError:
        return None
    return None if limit == "max" else int(limit) - used
