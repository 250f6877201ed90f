"""Configuration files of the server: its own protos parse them, and an edited one stays."""

import os

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from export.serving_config import write_serving_config

_NAMES = ["batching.config", "model.config", "monitoring.config"]

# Of tensorflow_serving/servables/tensorflow/session_bundle_config.proto and
# config/monitoring_config.proto, which the package tensorflow-serving-api does not hold: the types
# of all fields that the files may use.
_SCHEMA = """
name: "serving.proto" package: "serving" syntax: "proto3"
message_type { name: "Int64Value" field { name: "value" number: 1 type: TYPE_INT64 } }
message_type {
  name: "BatchingParameters"
  field { name: "max_batch_size" number: 1 type: TYPE_MESSAGE type_name: "Int64Value" }
  field { name: "batch_timeout_micros" number: 2 type: TYPE_MESSAGE type_name: "Int64Value" }
  field { name: "max_enqueued_batches" number: 3 type: TYPE_MESSAGE type_name: "Int64Value" }
  field { name: "num_batch_threads" number: 4 type: TYPE_MESSAGE type_name: "Int64Value" }
  field { name: "allowed_batch_sizes" number: 6 type: TYPE_INT64 label: LABEL_REPEATED }
}
message_type {
  name: "PrometheusConfig"
  field { name: "enable" number: 1 type: TYPE_BOOL }
  field { name: "path" number: 2 type: TYPE_STRING }
}
message_type {
  name: "MonitoringConfig"
  field { name: "prometheus_config" number: 1 type: TYPE_MESSAGE type_name: "PrometheusConfig" }
}
"""


def message(name):
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_SCHEMA, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"serving.{name}"))()


def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("name", ["digits", 'Größe "7" of 9%{}'])
def test_model_config_is_what_the_server_parses(tmp_path, name):
    model_server_config_pb2 = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2"
    )
    folder = tmp_path / name
    folder.mkdir()
    written = write_serving_config(f"{folder}/")
    assert sorted(map(os.path.basename, written)) == _NAMES == sorted(os.listdir(folder))
    text = read(folder, "model.config")
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [model] = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (
        name,
        f"/models/{name}",
        "tensorflow",
    )
    assert not model.HasField("model_version_policy") and not model.version_labels


def test_model_config_shows_a_policy_that_the_server_parses(tmp_path):
    model_server_config_pb2 = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2"
    )
    write_serving_config(str(tmp_path))
    text = read(tmp_path, "model.config")
    for field in ("model_version_policy", "version_labels"):
        text = text.replace(f"# {field}", field)
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [model] = config.model_config_list.config
    assert list(model.model_version_policy.specific.versions) == [1, 2]
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}


def test_batching_config_keeps_the_rules_of_the_server(tmp_path):
    write_serving_config(str(tmp_path))
    text = read(tmp_path, "batching.config")
    config = text_format.Parse(text, message("BatchingParameters"))
    sizes = list(config.allowed_batch_sizes)
    # Rising, the last one the largest batch; none left out, so that none is filled up.
    assert sizes == list(range(1, config.max_batch_size.value + 1))
    assert config.num_batch_threads.value >= 1 and config.max_enqueued_batches.value >= 1
    assert 0 < config.batch_timeout_micros.value <= 100_000


def test_monitoring_config_is_what_the_server_parses(tmp_path):
    write_serving_config(str(tmp_path))
    text = read(tmp_path, "monitoring.config")
    config = text_format.Parse(text, message("MonitoringConfig"))
    assert config.prometheus_config.enable
    assert config.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_an_edited_file_stays(tmp_path):
    (tmp_path / "model.config").write_text("mine")
    written = write_serving_config(str(tmp_path))
    assert sorted(map(os.path.basename, written)) == ["batching.config", "monitoring.config"]
    assert read(tmp_path, "model.config") == "mine"
    assert write_serving_config(str(tmp_path)) == []
