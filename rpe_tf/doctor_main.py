"""Looks at what a training needs on this machine: versions, devices, memory, a folder to write to.

Example:
  python -m rpe_tf.doctor_main --run_dir=runs --require_gpu
Exits with 1 where something is wrong, and says what to do about it.
"""

import importlib.metadata
import os
import platform
import uuid

import tensorflow as tf
from absl import app, flags

from rpe_tf.memory_estimate import available_bytes

_RUN_DIR = flags.DEFINE_string("run_dir", ".", "Folder that shall be written to; may be absent.")
_REQUIRE_GPU = flags.DEFINE_bool("require_gpu", False, "Find it wrong if TensorFlow sees no GPU.")

# Inclusive first and exclusive last, as in setup.cfg.
_PYTHON, _TENSORFLOW = ((3, 10), (3, 14)), ((2, 15), (2, 22))
_PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn", "pillow", "absl-py", "tqdm")
_EXTRAS = {
    "tensorflow-addons": "its optimizers (TensorFlow 2.15 only)",
    "apache-beam": "conversion and prediction over many machines, extra [beam]",
    "openvino": "other runtimes, extra [convert]",
    "starlette": "a local server, extra [serving]",
}
_LITTLE_MEMORY = 2 * 2**30


def problems(run_dir: str, require_gpu: bool) -> list[str]:
    """Returns what is wrong, a line each with what to do; empty where nothing is."""
    found = []
    versions = {
        "Python": (platform.python_version_tuple(), _PYTHON),
        "TensorFlow": (tf.__version__.split("."), _TENSORFLOW),
    }
    for name, (version, (first, last)) in versions.items():
        if not first <= (int(version[0]), int(version[1])) < last:
            given, most = ".".join(version[:2]), f"{last[0]}.{last[1] - 1}"
            found.append(f"{name} {given}: install {first[0]}.{first[1]} to {most}")
    if not tf.config.list_physical_devices("GPU"):
        if tf.sysconfig.get_build_info().get("is_cuda_build") and os.path.exists("/dev/nvidia0"):
            found.append(
                "a GPU is there that TensorFlow does not see: pip install 'tensorflow[and-cuda]', "
                "and compare the driver's version (nvidia-smi)"
            )
        elif require_gpu:
            found.append("no GPU: TensorFlow would train on the CPU")
    available = available_bytes()
    if available is not None and available < _LITTLE_MEMORY:
        found.append(f"{available / 2**20:,.0f} MiB of memory are free: close other programs")
    if reason := unwritable(run_dir):
        found.append(reason)
    return found


def unwritable(folder: str) -> str | None:
    """Returns why a folder cannot be written to, None where it can; it is left as it was."""
    there = folder
    while there and not tf.io.gfile.exists(there):
        there = os.path.dirname(there)
    path = os.path.join(there or ".", f".rpe_tf_{uuid.uuid4().hex}")
    try:
        with tf.io.gfile.GFile(path, "w") as file:
            file.write("written by rpe_tf to see whether it can be\n")
        tf.io.gfile.remove(path)
    except (tf.errors.OpError, OSError) as error:
        return f"{there} cannot be written to ({error}): choose another --run_dir"
    return None


def describe() -> list[str]:
    """Returns lines on versions, devices and memory."""
    lines = [f"Python {platform.python_version()} on {platform.platform()}"]
    for name in _PACKAGES:
        lines.append(f"{name} {importlib.metadata.version(name)}")
    for name, purpose in _EXTRAS.items():
        try:
            lines.append(f"{name} {importlib.metadata.version(name)}: {purpose}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{name} is not installed: {purpose}")
    devices = [x.name for kind in ("GPU", "TPU") for x in tf.config.list_physical_devices(kind)]
    lines.append(f"accelerators: {', '.join(devices) or 'none'}; {os.cpu_count()} processors")
    available = available_bytes()
    if available is not None:
        lines.append(f"{available / 2**30:.1f} GiB of memory are free on the device")
    return lines


def main(argv: list[str]) -> int:
    """Prints what is there and what is wrong; returns 1 where anything is."""
    del argv
    print("\n".join(describe()))
    found = problems(_RUN_DIR.value, _REQUIRE_GPU.value)
    for line in found:
        print(f"wrong: {line}")
    if not found:
        print("All is well.")
    return int(bool(found))


def run() -> None:
    """Starts the command; the console entry point."""
    app.run(main)


if __name__ == "__main__":
    run()
