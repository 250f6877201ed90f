"""The stand-in for TensorFlow Serving: a real process, asked over HTTP."""

import base64
import gzip
import io
import json
import shutil
import signal
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from server_process import ask, start_server
from small_model import save_small_model

import rpe_tf

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

MAX_PENDING = 4
# Steps of the signature `slow` that take about a second.
MANY_STEPS = 60_000


@pytest.fixture(scope="module")
def server(exported_instances, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "sums").mkdir()
    save_small_model(folder / "sums" / "1", 2.0)
    shutil.copytree(exported_instances.export_dir, folder / "cells")
    server = start_server(
        folder,
        tmp_path_factory.mktemp("log") / "stderr",
        f"--max_pending={MAX_PENDING}",
        "--max_pixels=100000",
        "--max_body_bytes=300000",
        "--poll_seconds=0.2",
    )
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture
def folder(server):
    return next(
        arg.partition("=")[2] for arg in server.process.args if arg.startswith("--model_base")
    )


def _png(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _b64(content):
    return {"b64": base64.b64encode(content).decode()}


def _predict(server, content, model="sums"):
    return ask(f"{server.url}/{model}:predict", content)


def test_status_says_available(server):
    expected = {
        "version": "1",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("cells", "cells/versions/1"):
        assert ask(f"{server.url}/{path}") == (200, {"model_version_status": [expected]})
    for path in ("nobody", "cells/versions/7", "nobody/metadata", "cells/versions/7/metadata"):
        status, answer = ask(f"{server.url}/{path}")
        assert status == 404 and list(answer) == ["error"]
        assert "is served; there is cells version 1, sums version 1" in answer["error"]


def test_metadata_have_the_signatures(server, exported_instances):
    status, answer = ask(f"{server.url}/cells/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "cells", "signature_name": "", "version": "1"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    for name, function in exported_instances.loaded.signatures.items():
        assert sorted(signatures[name]["outputs"]) == sorted(function.structured_outputs)
        assert signatures[name]["method_name"] == "tensorflow/serving/predict"
    image = signatures["serving_default"]["inputs"]["image"]
    assert image["dtype"] == "DT_UINT8" and not image["tensor_shape"]["unknown_rank"]
    assert [x["size"] for x in image["tensor_shape"]["dim"]] == ["-1", "-1", "-1", "3"]


def test_predict_answers_rows_and_columns(server):
    # 0.5 · 1 + 2 and 0.5 · 4 + 2; a single input and a single output go without names.
    assert _predict(server, {"instances": [1.0, 4]}) == (200, {"predictions": [2.5, 4.0]})
    assert _predict(server, {"inputs": [1.0, 4]}) == (200, {"outputs": [2.5, 4.0]})
    assert _predict(server, {"inputs": {"x": [1.0]}}) == (200, {"outputs": [2.5]})
    assert _predict(server, {"instances": [{"x": 4}]}) == (200, {"predictions": [4.0]})
    content = {"signature_name": "serving_default", "inputs": [0]}
    assert ask(f"{server.url}/sums/versions/1:predict", content) == (200, {"outputs": [2.0]})


def test_predict_takes_and_gives_bytes(server):
    rows = [{"pair": [1, 2], "text": "grün"}, {"pair": [3, 4], "text": _b64(b"\xfb\xff")}]
    status, answer = _predict(server, {"signature_name": "two", "instances": rows})
    assert status == 200
    first, second = answer["predictions"]
    assert first == {"sum": 3, "text": "grün", "same_bytes": _b64("grün".encode())}
    # The standard alphabet: "+/8=", where that of URLs has "-_8=".
    assert second["sum"] == 7 and second["same_bytes"] == {"b64": "+/8="}
    columns = {"pair": [[1, 2]], "text": ["a"]}
    status, answer = _predict(server, {"signature_name": "two", "inputs": columns})
    assert answer == {"outputs": {"sum": [3], "text": ["a"], "same_bytes": [_b64(b"a")]}}


def test_predict_wants_one_batch_size_for_rows(server):
    content = {"signature_name": "unbatched", "instances": [1.0, 2.0]}
    status, answer = _predict(server, content)
    assert status == 400 and "inconsistent batch size" in answer["error"]
    content = {"signature_name": "unbatched", "inputs": [1.0, 2.0]}
    expected = {"once": [1.0, 2.0], "twice": [1.0, 2.0, 1.0, 2.0]}
    assert _predict(server, content) == (200, {"outputs": expected})


def test_predict_takes_gzip(server):
    body = json.dumps({"inputs": [2.0]}).encode()
    url, headers = f"{server.url}/sums:predict", {"Content-Encoding": "gzip"}
    assert ask(url, gzip.compress(body), headers) == (200, {"outputs": [3.0]})
    for bad, status, text in [
        (gzip.compress(body)[:-3], 400, "cut off"),
        (body, 400, "not gzip"),
        # 10 MB of spaces in 10 kB.
        (gzip.compress(b" " * 10_000_000), 413, "at most 300,000 bytes"),
    ]:
        answer = ask(url, bad, headers)
        assert answer[0] == status and text in answer[1]["error"], answer
    status, answer = ask(url, body, {"Content-Encoding": "br"})
    assert status == 415 and "must be gzip" in answer["error"]


def test_predict_segments_encoded_pictures(server, exported_instances, pictures):
    segmenter = rpe_tf.load(exported_instances.export_dir)
    rows = [_b64(_png(pictures[0])), _b64(_png(pictures[2]))]
    content = {"signature_name": "serving_bytes", "instances": rows}
    status, answer = _predict(server, content, "cells")
    assert status == 200
    for picture, row in zip((pictures[0], pictures[2]), answer["predictions"], strict=True):
        png = io.BytesIO(base64.b64decode(row["instance_bytes"]["b64"]))
        expected = segmenter.predict(picture)
        np.testing.assert_array_equal(np.asarray(Image.open(png)), expected.instance)
        assert row["num_instances"] == len(expected.table) > 0
        assert [row["height"], row["width"]] == list(picture.shape[:2])
    content = {"inputs": pictures[0][np.newaxis].tolist()}
    status, answer = _predict(server, content, "cells")
    assert status == 200
    expected = segmenter.predict(pictures[0]).instance
    np.testing.assert_array_equal(answer["outputs"]["instance"][0], expected)


def _bomb(width, height):
    """A PNG that claims its sides and holds next to nothing."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _jpeg(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG")
    return file.getvalue()


def test_bad_pictures_are_refused_and_disturb_no_other(server, pictures):
    good = {"signature_name": "serving_bytes", "inputs": [_b64(_png(pictures[0]))]}
    expected = _predict(server, good, "cells")
    jpeg = _jpeg(pictures[0])
    bad = [
        (jpeg[:-30], "image_bytes[1] cannot be decoded: it is damaged or cut off"),
        (jpeg[:30], "image_bytes[1] is damaged or cut off"),
        (_bomb(10, 10), "image_bytes[1] cannot be decoded"),
        (
            b"hello, no picture",
            "image_bytes[1] must be a JPEG, PNG, BMP or GIF picture, but b",
        ),
        (b"", "image_bytes[1] must be a JPEG, PNG, BMP or GIF picture, but is empty"),
        (
            _bomb(60_000, 60_000),
            "60,000 x 60,000 pixels has 3,600,000,000 pixels, more than the limit of 100,000",
        ),
    ]
    with ThreadPoolExecutor(2) as pool:
        for content, message in bad:
            batch = [_b64(_png(pictures[0])), _b64(content)]
            request = {"signature_name": "serving_bytes", "inputs": batch}
            refused = pool.submit(_predict, server, request, "cells")
            answered = pool.submit(_predict, server, good, "cells")
            status, answer = refused.result()
            assert status == 400 and message in answer["error"], answer
            assert answered.result() == expected


@pytest.mark.parametrize(
    "content, message",
    [
        ({"signature_name": "nothing", "inputs": []}, "has no signature nothing; it has"),
        ({"signature_name": 3, "inputs": []}, "signature_name must be text"),
        ({"inputs": [[1.0]]}, "input x must have 1 dimensions, got more"),
        ({"inputs": ["1.0"]}, "input x must hold float32, got text"),
        ({}, "either 'instances' (rows) or 'inputs' (columns)"),
        (b"", "must be a JSON object, encoded as UTF-8: it is empty"),
        (b"\xff\xfe{", "must be a JSON object, encoded as UTF-8"),
        (b"[1, 2]", "must be a JSON object, got a list"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"inputs": ' + b"[" * 300 + b"]" * 300 + b"}", "input x must have 1 dimensions"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(server, content, message):
    status, answer = _predict(server, content)
    assert status == 400 and message in answer["error"], answer


def test_read_out_arguments_out_of_range_are_told_by_the_graph(server, pictures):
    row = {"concentration": -1.0, "max_loops": 1, "min_area": 1, "min_score": 0.0}
    row["image_bytes"] = _b64(_png(pictures[0]))
    content = {"signature_name": "serving_bytes_tuned", "instances": [row]}
    status, answer = _predict(server, content, "cells")
    assert status == 400
    assert answer["error"].startswith("assertion failed: [concentration is outside its range")
    assert "node" not in answer["error"]


def test_paths_and_sizes_that_are_not_served(server):
    base = server.url.removesuffix("/v1/models")
    for url, body, status, message in [
        (f"{base}/metrics", None, 404, "Not Found"),
        (f"{server.url}/sums:predict", None, 400, "malformed request GET"),
        (f"{server.url}/sums", {}, 400, "malformed request POST"),
        (f"{server.url}/sums/labels/stable:predict", {}, 400, "no version labels here"),
        (f"{server.url}/sums:classify", {}, 400, "ask for predict"),
        (f"{server.url}/nobody:predict", {}, 404, "no model nobody is served"),
        (f"{server.url}/sums/versions/9:predict", {}, 404, "no model sums version 9 is served"),
        (f"{server.url}/sums:predict", b" " * 300_001, 413, "(--max_body_bytes), got 300,001"),
    ]:
        answer = ask(url, body)
        assert answer[0] == status and message in answer[1]["error"], answer


def test_requests_past_the_queue_are_sent_away(server):
    slow = {"signature_name": "slow", "inputs": [MANY_STEPS]}
    with ThreadPoolExecutor(MAX_PENDING + 3) as pool:
        answers = list(pool.map(lambda _: _predict(server, slow), range(MAX_PENDING + 3)))
    refused = [answer["error"] for status, answer in answers if status == 503]
    assert refused and all(x.startswith("4 requests are pending (--max_pending)") for x in refused)
    assert [answer for status, answer in answers if status == 200] == [{"outputs": [2.0]}] * (
        len(answers) - len(refused)
    )
    assert _predict(server, {"inputs": [1.0]}) == (200, {"outputs": [2.5]})


def test_a_new_version_takes_over_without_a_request_lost(server, folder, tmp_path):
    done = threading.Event()

    def keep_asking():
        answers = []
        while not done.is_set():
            answers.append(_predict(server, {"inputs": [0.0]}))
        return answers

    models = tmp_path.parent.joinpath(folder) / "sums"
    with ThreadPoolExecutor(3) as pool:
        askers = [pool.submit(keep_asking) for _ in range(2)]
        slow = {"signature_name": "slow", "inputs": [5 * MANY_STEPS]}
        started = pool.submit(_predict, server, slow)
        save_small_model(models / "2", 5.0)
        states = _states_until(server, "sums", lambda states: states.get("2") == "AVAILABLE")
        assert states["1"] in ("UNLOADING", "END")
        # It began on version 1, which stays until it has ended.
        assert started.result() == (200, {"outputs": [2.0]})
        done.set()
        found = [asker.result() for asker in askers]
    for answers in found:
        assert {status for status, _ in answers} == {200}
        outputs = [answer["outputs"][0] for _, answer in answers]
        assert outputs == sorted(outputs) and set(outputs) == {2.0, 5.0}
    assert _states_until(server, "sums", lambda states: states["1"] == "END")["2"] == "AVAILABLE"
    status, answer = ask(f"{server.url}/sums/versions/1:predict", {"inputs": [0.0]})
    assert status == 404 and "no model sums version 1 is served" in answer["error"]


def _states_until(server, model, is_right, seconds=60):
    """States by version, once they are right."""
    deadline = time.monotonic() + seconds
    while True:
        _, answer = ask(f"{server.url}/{model}")
        states = {x["version"]: x["state"] for x in answer["model_version_status"]}
        if is_right(states):
            return states
        assert time.monotonic() < deadline, states
        time.sleep(0.05)


def test_sigterm_lets_requests_end(server):
    """The last of this file: it ends the server."""
    slow = {"signature_name": "slow", "inputs": [MANY_STEPS]}
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(_predict, server, slow)
        while _predict(server, {"inputs": [0.0]})[0] == 200 and not pending.running():
            pass
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert pending.result()[0] == 200
    assert server.process.wait(timeout=60) == 0
    with open(server.log) as file:
        text = file.read()
    assert "stopped" in text and "Traceback" not in text, text
