"""The REST client: against a real server, and against one that answers as it is told."""

import base64
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from server_process import start_server
from small_model import save_colour_maps

import rpe_tf
from export import remote_model, rest_client
from export.picture_predictions import predict_files
from rpe_tf.saved_model import BoundaryDetector, Segmenter, SemanticSegmenter, read_loaded


class Told(http.server.BaseHTTPRequestHandler):
    """Answers requests with what stands in `answers`, the last of them again and again."""

    answers = ()
    asked = ()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        cls = type(self)
        cls.asked += (json.loads(body),)
        status, content = cls.answers[0]
        cls.answers = cls.answers[1:] or cls.answers
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        del arguments


@pytest.fixture
def told(monkeypatch):
    """URL of a server, and the class that is told what to answer; no waits between attempts."""
    monkeypatch.setattr(rest_client, "_FIRST_WAIT_SECONDS", 0.001)
    handler = type("Handler", (Told,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/models/m", handler
    server.shutdown()
    server.server_close()


_GOOD = (200, b'{"predictions": [{"n": 3, "map_bytes": {"b64": "+/8="}, "text": "a"}]}')
_BUSY = (503, b'{"error": "too much to do"}')


def test_predict_sends_and_reads_what_the_rules_say(told):
    url, server = told
    server.answers = (_GOOD,)
    answer = rest_client.predict(url, b"\xfb\xff")
    # b"\xfb\xff" is +/8= in the standard alphabet.
    assert answer == {"n": 3, "map_bytes": b"\xfb\xff", "text": "a"}
    row = {"image_bytes": {"b64": "+/8="}}
    assert server.asked[0] == {"signature_name": "serving_bytes", "instances": [row]}
    rest_client.predict(url, b"\xfb\xff", parameters={"max_loops": 3})
    assert server.asked[1] == {
        "signature_name": "serving_bytes_tuned",
        "instances": [{**row, "max_loops": 3}],
    }


def test_predict_asks_a_busy_server_again_but_not_for_ever(told):
    url, server = told
    server.answers = (_BUSY, _BUSY, _GOOD)
    assert rest_client.predict(url, b"x", attempts=3)["n"] == 3
    assert len(server.asked) == 3
    server.asked, server.answers = (), (_BUSY,)
    with pytest.raises(ConnectionError, match="answers 503: too much to do"):
        rest_client.predict(url, b"x", attempts=4)
    assert len(server.asked) == 4
    with pytest.raises(ValueError, match="attempts must be at least 1, got 0"):
        rest_client.predict(url, b"x", attempts=0)


@pytest.mark.parametrize(
    "status, content, error, message",
    [
        (400, b'{"error": "no picture"}', ValueError, "answers 400: no picture"),
        (404, b"<html>gone</html>", ValueError, "answers 404: <html>gone</html>"),
        (404, b"", ValueError, "answers 404: Not Found"),
        (500, b'{"error": "broken"}', ConnectionError, "answers 500: broken"),
    ],
)
def test_predict_does_not_repeat_what_is_refused(told, status, content, error, message):
    url, server = told
    server.answers = ((status, content),)
    with pytest.raises(error, match=message):
        rest_client.predict(url, b"x")
    assert len(server.asked) == 1


def test_predict_tells_an_absent_server_and_a_wrong_url():
    # Port 9 is "discard", which nobody runs.
    url = "http://127.0.0.1:9/v1/models/m"
    with pytest.raises(ConnectionError, match=r"m:predict cannot be reached: .*refused"):
        rest_client.predict(url, b"x")
    assert not rest_client.is_available(url)
    with pytest.raises(ValueError, match="must begin with http:// or https://, got file:"):
        rest_client.predict("file:///etc/passwd", b"x")


def test_the_file_works_alone(told, tmp_path):
    url, server = told
    server.answers = (_GOOD,)
    shutil.copy(rest_client.__file__, tmp_path / "rest_client.py")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import rest_client; "
        f"print(rest_client.predict({url!r}, b'x')['n']); "
        "print(sorted({'numpy', 'tensorflow', 'export'} & set(sys.modules)))"
    )
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "3\n[]\n"


@pytest.fixture(scope="module")
def served(exported_instances, tmp_path_factory):
    """URL of a real server of three models, and their folders."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    base = tmp_path_factory.mktemp("models")
    (base / "instances").symlink_to(exported_instances.export_dir)
    for name in ("boundary", "semantic"):
        (base / name).mkdir()
        save_colour_maps(base / name / "1", name)
    exports = {name: str(base / name) for name in ("instances", "boundary", "semantic")}
    server = start_server(base, tmp_path_factory.mktemp("log") / "stderr")
    yield server.url, exports
    server.process.kill()
    server.process.wait()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory, pictures):
    """A folder of pictures in formats that the server reads and that it does not."""
    folder = tmp_path_factory.mktemp("scenes")
    Image.fromarray(pictures[0]).save(folder / "a.png")
    Image.fromarray(pictures[2]).save(folder / "b.tif")
    exif = Image.Exif()
    exif[0x0112] = 6  # Lies on its side.
    Image.fromarray(pictures[1]).save(folder / "c.jpg", exif=exif)
    return folder


@pytest.mark.parametrize(
    "task, kind",
    [
        ("instances", Segmenter),
        ("boundary", BoundaryDetector),
        ("semantic", SemanticSegmenter),
    ],
)
def test_a_served_model_writes_what_the_loaded_one_writes(served, scenes, tmp_path, task, kind):
    url, exports = served
    paths = sorted(str(path) for path in scenes.iterdir())
    remote = read_loaded(remote_model.connect(f"{url}/{task}"), url)
    assert type(remote) is kind
    assert predict_files(remote, paths, str(tmp_path / "served")) is None
    assert predict_files(rpe_tf.load(exports[task]), paths, str(tmp_path / "loaded")) is None
    names = sorted(os.listdir(tmp_path / "loaded"))
    assert names == sorted(os.listdir(tmp_path / "served")) and len(names) >= 3
    for name in names:
        contents = [(tmp_path / place / name).read_bytes() for place in ("served", "loaded")]
        assert contents[0] == contents[1], name


def test_a_table_without_instances_is_read():
    sides = [{"size": size} for size in ("-1", "-1", "4")]
    described = {"dtype": "DT_INT32", "tensor_shape": {"dim": sides}}
    boxes = remote_model._array([], described)
    assert boxes.shape == (1, 0, 4) and boxes.dtype == np.int32


def test_as_default_leaves_out_rows_of_other_pictures_of_a_batch():
    answer = {
        "areas": np.array([[5, 3, 0, 0]]),
        "num_instances": np.array([2]),
        "boundary_bytes": np.array([base64.b64decode(_GREY_PNG)], object),
    }
    found = remote_model.as_default(answer)
    assert found["areas"].tolist() == [[5, 3]]
    # One pixel of 51: 51 / 255 = 0.2.
    np.testing.assert_allclose(found["boundary"], [[[0.2]]], rtol=1e-6)


# 1×1, 8 bits, grey 51.
_GREY_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGMwBgAANQA0yrSZ7QAAAABJRU5ErkJggg=="
)


def test_rest_client_main_writes_files_and_names_what_failed(served, scenes, tmp_path):
    url, exports = served
    broken = tmp_path / "pictures"
    shutil.copytree(scenes, broken)
    (broken / "d.png").write_text("no picture")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "export.rest_client_main", f"--images={broken}"]
    done = subprocess.run(
        [*command, f"--url={url}/instances/", f"--output_dir={out}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "d.png cannot be read as a picture" in done.stderr
    assert "Segmented 3 of 4 pictures" in done.stdout
    instance, _ = rpe_tf.load(exports["instances"]).predict(str(scenes / "a.png"))
    np.testing.assert_array_equal(np.asarray(Image.open(out / "a_instances.png")), instance)
    assert {x["file_name"] for x in json.loads((out / "predictions.json").read_text())} <= {
        str(broken / name) for name in ("a.png", "b.tif", "c.jpg")
    }


def test_connect_names_a_model_that_is_not_there(served):
    url, _ = served
    with pytest.raises(ValueError, match="no model nobody is served; there is boundary"):
        remote_model.connect(f"{url}/nobody")
