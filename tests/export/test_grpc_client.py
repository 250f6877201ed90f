"""The gRPC client against a real socket: PredictionService on top of loaded exports."""

import json
import os
import subprocess
import sys
from concurrent import futures

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from export.picture_predictions import predict_files
from export.remote_model import as_default
from rpe_tf.saved_model import read_loaded

grpc = pytest.importorskip("grpc")
pytest.importorskip("tensorflow_serving")

from tensorflow_serving.apis import (  # noqa: E402
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export.grpc_client import Address, connect  # noqa: E402


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers as TensorFlow Serving does; with a `companion`, it batches that in front."""

    def __init__(self, models):
        self.models = models  # by name: loaded, and its folder
        self.companion = None
        self.asked = []
        self.num_busy = 0  # answers that the queue is full before the next true one

    def model(self, spec, context):
        if spec.name not in self.models or spec.version.value > 1:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {spec.name}")
        return self.models[spec.name]

    def Predict(self, request, context):
        self.asked.append(request)
        if self.num_busy:
            self.num_busy -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "the queue is full")
        signatures = self.model(request.model_spec, context)[0].signatures
        function = signatures[request.model_spec.signature_name]
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        before = 0
        if self.companion:
            inputs = {name: np.concatenate([[self.companion], x]) for name, x in inputs.items()}
            before = 1
        try:
            outputs = function(**{name: tf.constant(x) for name, x in inputs.items()})
        except tf.errors.OpError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        response = predict_pb2.PredictResponse()
        for name in request.output_filter or outputs:
            value = outputs[name].numpy()[before:]
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):
        folder = self.model(request.model_spec, context)[1]
        saved = saved_model_pb2.SavedModel()
        with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
            saved.ParseFromString(file.read())
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in saved.meta_graphs[0].signature_def.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.metadata["signature_def"].Pack(signatures)
        return response


@pytest.fixture(scope="module")
def service(exported, exported_instances, exported_boundary):
    exports = {"a": exported, "c": exported_instances, "b": exported_boundary}
    return Service({k: (x.loaded, f"{x.export_dir}/1") for k, x in exports.items()})


@pytest.fixture(scope="module")
def server(service):
    """HOST:PORT of the service."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def scenes(pictures, tmp_path):
    (tmp_path / "scenes").mkdir()
    for k, picture in enumerate(pictures[1:]):
        Image.fromarray(picture).save(tmp_path / "scenes" / f"{k}.tif")
    return tmp_path / "scenes"


def start(scenes, output_dir, *flags):
    command = [sys.executable, "-m", "export.grpc_client_main", f"--images={scenes}"]
    command += [f"--output_dir={output_dir}", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def content(folder):
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


def test_the_command_writes_what_predict_main_writes(exported_instances, server, scenes, tmp_path):
    flags = [f"--address={server}", "--model_name=c", "--version=1"]
    client = start(scenes, tmp_path / "out", *flags)
    paths = [str(scenes / name) for name in ("0.tif", "1.tif")]
    predict_files(read_loaded(exported_instances.loaded, ""), paths, str(tmp_path / "local"))
    out, err = client.communicate(timeout=300)
    assert client.returncode == 0 and "Segmented 2 of 2 pictures" in out, err
    found, wanted = content(tmp_path / "out"), content(tmp_path / "local")
    assert len(found) == 7 and found == wanted
    assert json.loads(found["predictions.json"])


def test_errors_are_one_line(server, scenes, tmp_path):
    # Port 9 is that of "discard", which nobody runs.
    runs = [
        (["--address=127.0.0.1:9", "--model_name=c"], "c at 127.0.0.1:9 gives no answer (UNAV"),
        ([f"--address={server}", "--model_name=x"], f"x at {server} is not served: Servable not"),
        (["--model_name=c", "--version=1", "--label=stable"], "--version and --label exclude"),
    ]
    clients = [start(scenes, tmp_path / "out", *flags) for flags, _ in runs]
    for client, (_, message) in zip(clients, runs, strict=True):
        _, err = client.communicate(timeout=300)
        assert client.returncode == 1 and f"error: {message}" in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_boundaries_come_with_the_steps_of_their_png(exported_boundary, server, pictures):
    remote = read_loaded(connect(Address(server, "b")), "")
    wanted = read_loaded(exported_boundary.loaded, "").predict(pictures[2])
    found = remote.predict(pictures[2])
    assert found.dtype == np.float32 and found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 0.5 / 255 + 1e-6
    # The same once it is written.
    np.testing.assert_array_equal(np.rint(255 * found), np.rint(255 * wanted))


def test_only_what_is_read_is_asked_for(service, server, pictures):
    remote = read_loaded(connect(Address(server, "c", version=1)), "")
    service.asked.clear()
    remote.predict_classed(pictures[0])
    [request] = service.asked
    assert {"instance_bytes", "semantic_bytes", "boxes", "classes"} <= set(request.output_filter)
    assert not {"instance", "semantic"} & set(request.output_filter)
    spec = request.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("c", "serving_bytes", 1)
    labelled = connect(Address(server, "c", version_label="stable")).signatures["serving_default"]
    labelled(tf.constant(pictures[0][np.newaxis]))
    assert service.asked[-1].model_spec.version_label == "stable"


def test_a_picture_that_was_batched_with_a_larger_one_answers_alike(
    service, server, exported_instances, pictures
):
    large = np.concatenate([pictures[0]] * 2)
    local = read_loaded(exported_instances.loaded, "")
    wanted = local.predict_classed(pictures[2])
    assert len(local.predict(large).table) > len(wanted.table)
    remote = read_loaded(connect(Address(server, "c")), "")
    service.companion = tf.io.encode_png(large).numpy()
    try:
        found = remote.predict_classed(pictures[2])
    finally:
        service.companion = None
    for name in wanted._fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_as_default_reads_maps_of_8_and_16_bits_and_cuts_tables():
    ids, classes = np.array([[0, 70], [300, 65535]], np.uint16), np.array([[0, 254]], np.uint8)
    answer = {
        "instance_bytes": _png(ids),
        "semantic_bytes": _png(classes),
        "boundary_bytes": _png(np.array([[0, 51, 255]], np.uint8)),
        "num_instances": np.array([1], np.int32),
        "boxes": np.array([[[0, 1, 2, 3], [0, 0, 0, 0]]], np.int32),
        "height": np.array([2], np.int32),
    }
    found = as_default(answer)
    np.testing.assert_array_equal(found["instance"], ids[np.newaxis])
    np.testing.assert_array_equal(found["semantic"], classes[np.newaxis])
    assert found["instance"].dtype == found["semantic"].dtype == np.int32
    np.testing.assert_allclose(found["boundary"], [[[0, 51 / 255, 1]]])  # 51 = 255 / 5
    assert found["boxes"].tolist() == [[[0, 1, 2, 3]]] and found["height"].tolist() == [2]


def _png(samples):
    dtype = tf.as_dtype(samples.dtype)
    return np.array(
        [tf.io.encode_png(tf.constant(samples, dtype)[..., tf.newaxis]).numpy()], object
    )


def test_a_server_that_is_busy_is_asked_again(service, server, pictures):
    signature = connect(Address(server, "b")).signatures["serving_default"]
    service.asked.clear()
    service.num_busy = 2
    assert signature(tf.constant(pictures[2][np.newaxis]))["height"].numpy() == [64]
    assert len(service.asked) == 3 and service.num_busy == 0


def test_a_refusal_is_a_value_error_and_a_late_answer_none(server):
    signature = connect(Address(server, "c")).signatures["serving_default"]
    with pytest.raises(
        ValueError, match=r"c at .* refuses the request: .*Unknown image file format"
    ):
        signature._ask(b"no picture")
    late = connect(Address(server, "c")).signatures["serving_default"]
    late._address = late._address._replace(timeout_seconds=1e-4)
    with pytest.raises(ConnectionError, match=r"gives no answer .DEADLINE_EXCEEDED"):
        late(tf.zeros([1, 64, 64, 3], tf.uint8))
    with pytest.raises(ValueError, match=r"c at .* is not served"):
        connect(Address(server, "c", version=2))
