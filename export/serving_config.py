"""Configuration files of TensorFlow Serving, beside the versions of a model.

They are text protos: `ModelServerConfig`, `BatchingParameters` and `MonitoringConfig`.
"""

import os

from google.protobuf import text_encoding

from export.prediction_files import write_whole

_MODEL = """\
# tensorflow_model_server --model_config_file=/models/{plain}/model.config
# base_path is where the server sees this folder: in its container /models/{plain}.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    # Without a policy the largest version alone is served. Two of them, with labels:
    # model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
    # version_labels {{ key: "stable" value: 1 }}
    # version_labels {{ key: "canary" value: 2 }}
  }}
}}
"""
_BATCHING = """\
# tensorflow_model_server --enable_batching --batching_parameters_file=THIS_FILE
# Requests of equal inputs are put together, also those of different clients. Encoded pictures of
# any sizes can be (serving_bytes, tf_example); pixels only where height and width are equal, else
# the server refuses the whole batch.
# Pictures in a batch, and in a request at the most: more are refused.
max_batch_size { value: 4 }
# How long the first waits for others, in microseconds.
batch_timeout_micros { value: 2000 }
# Batches at the same time: the processors of the server, or less to save memory.
num_batch_threads { value: 2 }
# Batches that wait at the most; beyond that requests are refused at once.
max_enqueued_batches { value: 100 }
# Every number up to max_batch_size, for others are filled up with copies that take time.
allowed_batch_sizes: 1
allowed_batch_sizes: 2
allowed_batch_sizes: 3
allowed_batch_sizes: 4
"""
_MONITORING = """\
# tensorflow_model_server --monitoring_config_file=THIS_FILE
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def write_serving_config(export_dir: str) -> list[str]:
    """Writes model.config, batching.config and monitoring.config; returns the paths written.

    A file that is there already stays as it is, for it may have been edited. The model's name is
    that of export_dir.
    """
    plain = os.path.basename(os.path.abspath(export_dir))
    texts = {
        "model.config": _MODEL.format(plain=plain, name=text_encoding.CEscape(plain, as_utf8=True)),
        "batching.config": _BATCHING,
        "monitoring.config": _MONITORING,
    }
    written = []
    for name, text in texts.items():
        path = os.path.join(export_dir, name)
        if not os.path.exists(path):
            write_whole(path, lambda file, text=text: file.write(text.encode()))
            written.append(path)
    return written
