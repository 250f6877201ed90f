"""MNIST: a scan a picture."""

import gzip
import struct

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import schema
from data_pipeline.mnist import list_mnist, mnist_digest, read_mnist


def _write(folder, prefix, scans, labels):
    images = struct.pack(">4i", 2051, *scans.shape) + scans.tobytes()
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    content = struct.pack(">2i", 2049, len(labels)) + labels.tobytes()
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(content)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for prefix, num in (("train", 4), ("t10k", 2)):
        scans = rng.integers(0, 256, (num, 28, 28), np.uint8) * (rng.random((num, 28, 28)) < 0.3)
        _write(tmp_path, prefix, scans.astype(np.uint8), np.arange(num, dtype=np.uint8) + 6)
    return tmp_path


def test_mnist_comes_back_bit_for_bit(folder):
    rng = np.random.default_rng(0)
    splits = list_mnist(str(folder))
    assert [(name, len(sources)) for name, sources in splits.items()] == [("train", 4), ("test", 2)]
    for sources in splits.values():
        num = len(sources)
        scans = rng.integers(0, 256, (num, 28, 28), np.uint8) * (rng.random((num, 28, 28)) < 0.3)
        for k, source in enumerate(sources):
            found = schema.parse_example(schema.encode_example(read_mnist(source), source.name))
            for channel in range(3):
                np.testing.assert_array_equal(found["image"][..., channel], scans[k])
            np.testing.assert_array_equal(found["instance"], scans[k] > 0)
            np.testing.assert_array_equal(found["semantic"], (scans[k] > 0) * (k + 7))
    assert splits["train"][3].name == "train_00003"


def test_mnist_digest_tells_other_scans_apart(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for prefix, num in (("train", 4), ("t10k", 2)):
        _write(other, prefix, np.zeros((num, 28, 28), np.uint8), np.zeros(num, np.uint8))
    assert mnist_digest(str(folder)) != mnist_digest(str(other))


def test_mnist_is_read_from_any_file_system(folder):
    # TensorFlow's own, in memory: only gfile can read there.
    for path in folder.iterdir():
        tf.io.gfile.makedirs("ram://mnist")
        tf.io.gfile.copy(str(path), f"ram://mnist/{path.name}", overwrite=True)
    assert mnist_digest("ram://mnist") == mnist_digest(str(folder))


def test_list_mnist_names_a_missing_file(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte\[\.gz\]: no such file"):
        list_mnist(str(folder))
