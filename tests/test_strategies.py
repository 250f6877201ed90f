import json
from types import SimpleNamespace

import pytest
import tensorflow as tf

from rpe_tf import strategies

HOSTS = {"worker": ["host0:2222", "host1:2222"]}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)


def test_make_strategy_refuses_unknown_names():
    with pytest.raises(ValueError, match=r"strategy must be one of .* got 'tpu'"):
        strategies.make_strategy("tpu")


@pytest.mark.parametrize("tf_config", [None, "", "{}", '{"task": {"index": 0}}'])
def test_make_strategy_multi_worker_needs_a_cluster(monkeypatch, tf_config):
    if tf_config is not None:
        monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(ValueError, match="multi_worker needs the environment variable TF_CONFIG"):
        strategies.make_strategy("multi_worker")


@pytest.mark.parametrize(
    "name, kind",
    [
        ("one_device", tf.distribute.OneDeviceStrategy),
        ("mirrored", tf.distribute.MirroredStrategy),
    ],
)
def test_make_strategy_takes_the_devices_at_hand(name, kind):
    strategy = strategies.make_strategy(name)
    assert isinstance(strategy, kind)
    kinds = [kind for kind in ("GPU", "CPU") if tf.config.list_logical_devices(kind)]
    devices = tf.config.list_logical_devices(kinds[0])
    expected = 1 if name == "one_device" else len(devices)
    assert strategy.num_replicas_in_sync == expected


def test_make_strategy_auto_without_cluster_takes_this_host():
    strategy = strategies.make_strategy("auto")
    assert not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    assert strategies.is_chief(strategy)


@pytest.mark.parametrize("name", ["auto", "multi_worker"])
def test_make_strategy_takes_the_hosts_of_a_cluster(monkeypatch, name):
    # Workers wait for each other when they start, so here the constructor is only recorded.
    started = []
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": HOSTS, "task": {"type": "worker"}}))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: started.append(name))
    # Asking for devices would start TensorFlow before the strategy has set it up.
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: pytest.fail("too early"))
    strategies.make_strategy(name)
    assert started == [name]


def of_cluster(hosts, task_type, task_id):
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(hosts), task_type=task_type, task_id=task_id
    )
    return SimpleNamespace(cluster_resolver=resolver)


@pytest.mark.parametrize(
    "hosts, task_type, task_id, expected",
    [
        (HOSTS, "worker", 0, True),
        (HOSTS, "worker", 1, False),
        ({"chief": ["c:1"], **HOSTS}, "chief", 0, True),
        ({"chief": ["c:1"], **HOSTS}, "worker", 0, False),
        ({**HOSTS, "evaluator": ["e:1"]}, "evaluator", 0, False),
    ],
)
def test_is_chief_is_one_process_of_a_cluster(hosts, task_type, task_id, expected):
    assert strategies.is_chief(of_cluster(hosts, task_type, task_id)) is expected


def test_is_chief_of_the_only_process():
    assert strategies.is_chief(SimpleNamespace(cluster_resolver=None))
    assert strategies.is_chief(of_cluster({}, "", 0))


def test_describe_names_strategy_and_replicas():
    line = strategies.describe(strategies.make_strategy("one_device"))
    assert line.startswith("OneDeviceStrategy, 1 replica(s), accelerators: ")
    assert "\n" not in line


def test_make_strategy_refuses_a_tf_config_that_is_no_json(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{cluster: 1}")
    with pytest.raises(ValueError, match="TF_CONFIG is no JSON"):
        strategies.make_strategy("auto")
