"""Warm-up requests: what a server would read, and that the model answers each."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from export import warm_up
from export.warm_up import PATH, read_warm_up, replay
from rpe_tf.inference.label_map import BACKGROUNDS


# With parameters and `group`, and with neither.
@pytest.fixture(params=["exported", "exported_boundary"])
def any_export(request):
    return request.getfixturevalue(request.param)


def records(folder):
    return [x.numpy() for x in tf.data.TFRecordDataset(os.path.join(folder, PATH))]


def test_every_signature_is_asked_for_all_its_inputs(any_export):
    signatures = any_export.loaded.signatures
    requests = read_warm_up(f"{any_export.export_dir}/1")
    assert sorted(name for name, _ in requests) == sorted(signatures)
    for name, inputs in requests:
        specs = signatures[name].structured_input_signature[1]
        assert set(inputs) == set(specs)
        for key, spec in specs.items():
            assert spec.dtype == inputs[key].dtype and spec.shape.is_compatible_with(
                inputs[key].shape
            )


def test_the_protos_of_the_server_parse_what_was_written(any_export):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    folder = f"{any_export.export_dir}/1"
    requests = read_warm_up(folder)
    assert 0 < len(requests) <= 1000
    for record, (name, inputs) in zip(records(folder), requests, strict=True):
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert [field.name for field, _ in log.ListFields()] == ["predict_log"]
        assert [field.name for field, _ in log.predict_log.ListFields()] == ["request"]
        request = log.predict_log.request
        assert [field.name for field, _ in request.ListFields()] == ["model_spec", "inputs"]
        # An empty name: the server does not look at it when it warms up.
        assert [field.name for field, _ in request.model_spec.ListFields()] == ["signature_name"]
        assert request.model_spec.signature_name == name
        assert set(request.inputs) == set(inputs)
        for key, proto in request.inputs.items():
            np.testing.assert_array_equal(tf.make_ndarray(proto), inputs[key].numpy())
        # Nothing that they do not know: the bytes come out again.
        log.DiscardUnknownFields()
        assert log.SerializeToString(deterministic=True) == record


def test_our_reader_parses_what_the_protos_of_the_server_write(tmp_path):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "another"
    request.model_spec.signature_name = "serving_bytes"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([b"\0\xff", b""]))
    request.output_filter.append("height")
    (tmp_path / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / PATH)) as writer:
        writer.write(log.SerializeToString())
    [(name, inputs)] = read_warm_up(str(tmp_path))
    assert name == "serving_bytes" and inputs["image_bytes"].numpy().tolist() == [b"\0\xff", b""]


def test_tuned_signatures_are_asked_with_the_defaults(exported):
    requests = dict(read_warm_up(f"{exported.export_dir}/1"))
    for name in ("serving_default_tuned", "serving_bytes_tuned", "group"):
        found = {key: x.numpy() for key, x in requests[name].items()}
        assert found["concentration"] == [60.0] and found["max_loops"] == [30]
        assert found["min_area"] == [20] and found["min_score"] == [-np.inf]
        assert found["background"].tolist() == [b"border"] and "border" in BACKGROUNDS
    # The same answer, with and without them.
    plain, tuned, group = (
        exported.loaded.signatures[name](**requests[name])["instance"].numpy()
        for name in ("serving_default", "serving_default_tuned", "group")
    )
    np.testing.assert_array_equal(tuned, plain)
    np.testing.assert_array_equal(group, plain)


def test_pixels_bytes_and_examples_are_one_picture(exported):
    requests = dict(read_warm_up(f"{exported.export_dir}/1"))
    maps = [
        exported.loaded.signatures[name](**requests[name])["instance"].numpy()
        for name in ("serving_default", "serving_bytes", "tf_example")
    ]
    assert maps[0].shape == requests["serving_default"]["image"].shape[:3]
    np.testing.assert_array_equal(maps[1], maps[0])
    np.testing.assert_array_equal(maps[2], maps[0])


def test_replay_main_runs_every_request(exported_boundary):
    command = [
        sys.executable,
        "-m",
        "export.replay_main",
        f"--model={exported_boundary.export_dir}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    lines = done.stdout.splitlines()[1:-1]
    assert sorted(line.split()[0] for line in lines) == sorted(exported_boundary.loaded.signatures)
    assert f"answers its {len(lines)} warm-up requests" in done.stdout


@pytest.fixture
def copied(exported_boundary, tmp_path):
    return shutil.copytree(f"{exported_boundary.export_dir}/1", tmp_path / "1")


def test_replay_names_a_request_that_the_model_refuses(copied):
    def write(name, **inputs):
        with tf.io.TFRecordWriter(str(copied / PATH)) as writer:
            writer.write(warm_up._encode(name, inputs))
        return list(replay(str(copied)))

    picture = tf.zeros([1, 32, 32, 3], tf.uint8)
    assert [row.signature for row in write("serving_default", image=picture)] == ["serving_default"]
    with pytest.raises(ValueError, match="has no signature grouped, which"):
        write("grouped", image=picture)
    with pytest.raises(ValueError, match="refuses the warm-up request of embedding"):
        write("embedding", picture=picture)
    with pytest.raises(ValueError, match="refuses the warm-up request of serving_bytes"):
        write("serving_bytes", image_bytes=tf.constant([b"no picture"]))


def test_read_warm_up_names_a_file_that_is_damaged_or_absent(copied):
    path = copied / PATH
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="tf_serving_warmup_requests is damaged"):
        read_warm_up(str(copied))
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"\xff no message")
    with pytest.raises(ValueError, match="tf_serving_warmup_requests is damaged"):
        read_warm_up(str(copied))
    path.unlink()
    with pytest.raises(FileNotFoundError, match="export the run again"):
        read_warm_up(str(copied))
