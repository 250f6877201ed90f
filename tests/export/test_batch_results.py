"""What a model finds in a picture of a batch, and how it may be written."""

import functools
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from export import batch_parts, batch_results
from export.batch_pictures import Picture
from export.large_pictures import Tiling
from rpe_tf.saved_model import BoundaryDetector, Segmenter, SemanticSegmenter


@pytest.mark.parametrize(
    "error, message",
    [
        (tf.errors.ResourceExhaustedError(None, None, "no room"), "cannot be predicted (no room)"),
        (MemoryError(), "a.png is too large for the memory"),
    ],
)
def test_a_picture_too_large_for_the_memory_fails_alone(error, message):
    class Full(SemanticSegmenter):
        def predict(self, picture):
            raise error

    content = tf.io.encode_png(np.zeros([4, 6, 3], np.uint8)).numpy()
    picture = Picture({"path": "in/a.png"}, "in/a.png", "a", content)
    wanted = batch_results.Wanted("out", ["json"], "model", Tiling())
    answer = batch_parts.answer(Full(None), picture, wanted)
    assert message in answer.problem and not answer.results


@pytest.mark.parametrize(
    "kind_of_model, kinds, chosen",
    [
        (Segmenter, [], ["json"]),
        (SemanticSegmenter, [], ["png"]),
        (BoundaryDetector, [], ["png"]),
        (Segmenter, ["shards", "json", "json"], ["json", "shards"]),
        (
            SemanticSegmenter,
            ["json"],
            "--write=json is not for models of classes; .* png, shards",
        ),
        (BoundaryDetector, ["shards"], "--write=shards is not for models of boundaries; .* png"),
        (Segmenter, ["jpeg"], "--write=jpeg is not for .*; choose of json, png, shards"),
    ],
)
def test_choose_kinds(kind_of_model, kinds, chosen):
    model = kind_of_model(None)
    if isinstance(chosen, list):
        assert batch_results.choose_kinds(model, kinds) == chosen
        return
    with pytest.raises(ValueError, match=chosen):
        batch_results.choose_kinds(model, kinds)


def test_a_process_loads_its_model_once_for_all_threads(monkeypatch):
    loads, models = [], []

    def load(folder):
        loads.append(folder)
        time.sleep(0.2)
        return object()

    monkeypatch.setattr(batch_results, "_load", functools.lru_cache(1)(load))
    threads = [
        threading.Thread(target=lambda: models.append(batch_results.load_once("m")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["m"] and len(set(map(id, models))) == 1
