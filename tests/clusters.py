"""Trainings on local processes that stand for hosts, or on logical CPUs that stand for GPUs."""

import json
import os
import pathlib
import socket
import subprocess
import sys

_ROOT = pathlib.Path(__file__).parents[1]
# As train_main.py, after this machine's CPU has been divided.
_DIVIDED = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.argv[0] = "train_main.py"
import train_main
train_main.run()
"""


def start_alone(*flags, on_two_cpus=False):
    """A training in one process."""
    return _start([*(["-c", _DIVIDED] if on_two_cpus else ["train_main.py"]), *flags], {})


def start_hosts(num, folder, *flags):
    """A training on num processes, by index; what is no chief's goes to folder/INDEX."""
    addresses = [f"localhost:{port}" for port in _free_ports(num)]
    processes = []
    for index in range(num):
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        own = folder / str(index)
        own.mkdir(parents=True)
        environment = {"TF_CONFIG": json.dumps(cluster), "TMPDIR": str(own)}
        processes.append(_start(["train_main.py", "--strategy=multi_worker", *flags], environment))
    return processes


def finish(process, timeout=400):
    """(exit code, what it said)."""
    said = process.communicate(timeout=timeout)[1]
    return process.returncode, said


def _start(arguments, environment):
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=_ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
