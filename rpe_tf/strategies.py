"""Where training runs: one device, the GPUs of a host, or several hosts."""

import contextlib
import json
import os
from collections.abc import Iterator

import tensorflow as tf

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy; to be called before any other TensorFlow op.

    Args:
      name: "one_device"; "mirrored": all GPUs of this host, or all logical CPUs where there is
        none; "multi_worker": the hosts in the environment variable TF_CONFIG; "auto": multi_worker
        where TF_CONFIG names a cluster, mirrored where there are several GPUs, else one_device.

    Raises:
      ValueError: if the name is unknown, or multi_worker is asked for without TF_CONFIG.
    """
    if name not in STRATEGIES:
        raise ValueError(f"strategy must be one of {STRATEGIES}, got {name!r}")
    has_cluster = "cluster" in _tf_config()
    gpus = (
        tf.config.list_logical_devices("GPU") if name != "multi_worker" and not has_cluster else []
    )
    if name == "auto":
        name = "multi_worker" if has_cluster else "mirrored" if len(gpus) > 1 else "one_device"
    if name == "multi_worker":
        if not has_cluster:
            raise ValueError(
                "strategy multi_worker needs the environment variable TF_CONFIG with the cluster's "
                'addresses and this process\'s task, e.g. {"cluster": {"worker": ["host0:2222", '
                '"host1:2222"]}, "task": {"type": "worker", "index": 0}}'
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    if name == "mirrored":
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.OneDeviceStrategy(devices[0].name)


def _tf_config() -> dict:
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"the environment variable TF_CONFIG is no JSON ({error}): {text}"
        ) from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes the run's files: the first worker, or the only one."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    return resolver.task_type == "chief" or (
        resolver.task_type == "worker"
        and resolver.task_id == 0
        and "chief" not in resolver.cluster_spec().jobs
    )


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns once all workers have called it, by a sum over all of them."""

    @tf.function
    def sum_over_workers() -> tf.Tensor:
        ones = strategy.run(lambda: tf.ones([]))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, ones, axis=None)

    sum_over_workers().numpy()


@contextlib.contextmanager
def lost_workers_named(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Says of TensorFlow's errors within that another worker is gone, where it is that.

    Workers notice within half a minute, by the heartbeats of TensorFlow's coordination service.

    Raises:
      ConnectionError: instead of UnavailableError or AbortedError, of a strategy over processes.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise
        why = error.message.splitlines()[0]
        raise ConnectionError(
            "another worker is gone; start all of them again with the same command, they go on "
            f"from the last checkpoint ({why})"
        ) from error


def describe(strategy: tf.distribute.Strategy) -> str:
    """Returns one line: strategy, replicas and the devices at hand."""
    devices = [
        device.name for kind in ("GPU", "TPU") for device in tf.config.list_logical_devices(kind)
    ]
    return (
        f"{type(strategy).__name__}, {strategy.num_replicas_in_sync} replica(s), "
        f"accelerators: {', '.join(devices) or 'none, training on the CPU'}"
    )
