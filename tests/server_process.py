"""A real `export.serve_main`, started for tests, and plain requests to it."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from typing import NamedTuple


class Server(NamedTuple):
    process: subprocess.Popen
    url: str  # …/v1/models
    log: str  # path of what it writes to stderr


def start_server(model_base, log, *flags):
    """The server once it listens; the caller ends it."""
    command = [sys.executable, "-m", "export.serve_main", f"--model_base={model_base}", "--port=0"]
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [*command, *flags], stdout=subprocess.PIPE, stderr=file, text=True
        )
    for line in process.stdout:
        if "http://" in line:
            return Server(process, line.strip().rpartition("/")[0], str(log))
    with open(log) as file:
        raise AssertionError(f"the server did not start: {file.read()}")


def ask(url, body=None, headers=None):
    """Status and JSON of a GET, or of a POST of bytes or of an object."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    request = urllib.request.Request(url, body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
