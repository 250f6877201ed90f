"""Serves exported models on this machine: a stand-in for TensorFlow Serving's REST interface.

For local development and tests, where TensorFlow Serving itself is not at hand: the same paths,
JSON and rules, so that a client written against it goes on to work. It has neither TLS nor
passwords nor batching, and listens to this machine alone unless told otherwise.

A new version that appears in a model's folder is loaded, and takes over without a request lost.

Example:
  python -m export.serve_main --model_base=exports/digits --port=8501
  curl http://127.0.0.1:8501/v1/models/digits
"""

import os
import signal
import socket
import threading

from absl import flags, logging

from data_pipeline import command_line

_MODEL_BASE = flags.DEFINE_string(
    "model_base",
    None,
    "Folder of a model, holding its numbered versions, or a folder of such folders.",
)
_MODEL_NAME = flags.DEFINE_string(
    "model_name",
    None,
    "What the model is called in URLs, or which one of several is served; left out: the names of "
    "the folders.",
)
_HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "Address to listen on. Any but this machine's own lets everyone in."
)
_PORT = flags.DEFINE_integer(
    "port", 8501, "Port to listen on; 0: a free one.", lower_bound=0, upper_bound=65535
)
_POLL_SECONDS = flags.DEFINE_float(
    "poll_seconds", 1.0, "Seconds between two looks for new versions, above 0.", lower_bound=1e-3
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels",
    50_000_000,
    "Pixels that the pictures of a request may have, each padded to the largest sides among them; "
    "told from their heads, before any is decoded.",
    lower_bound=1,
)
_MAX_BODY_BYTES = flags.DEFINE_integer(
    "max_body_bytes", 1 << 25, "Bytes of a request, decompressed too.", lower_bound=1
)
_MAX_PENDING = flags.DEFINE_integer(
    "max_pending",
    32,
    "Requests received, waiting and answered at once; more are told to come back (503).",
    lower_bound=1,
)
_NUM_THREADS = flags.DEFINE_integer(
    "num_threads",
    os.cpu_count(),
    "Requests answered at once; each takes the memory of its pictures.",
    lower_bound=1,
)
_GRACE_SECONDS = flags.DEFINE_integer(
    "grace_seconds", 60, "Seconds that requests get to end in after SIGTERM.", lower_bound=0
)

# Memory that a pixel takes while its picture is answered: rpe_tf/pretrained/nuclei at 2048 x 2048.
_BYTES_PER_PIXEL = 1000


def main(argv: list[str]) -> None:
    """Serves until SIGTERM or SIGINT; requests that have begun are answered."""
    del argv
    try:
        import uvicorn

        from export import model_versions, rest_server
    except ModuleNotFoundError as error:
        raise ValueError(f"serving needs {error.name}: pip install '.[serving]'") from error
    models = model_versions.ModelVersions(_MODEL_BASE.value, _MODEL_NAME.value)
    models.refresh()
    if not models.names():
        raise FileNotFoundError(
            f"no model can be served from {_MODEL_BASE.value}; it must hold numbered versions, or "
            "folders of them, as `python -m export.export_main` writes them"
        )
    limits = rest_server.Limits(
        _MAX_PIXELS.value, _MAX_BODY_BYTES.value, _MAX_PENDING.value, _NUM_THREADS.value
    )
    _warn_of_memory(limits.max_pixels * limits.num_threads * _BYTES_PER_PIXEL)
    config = uvicorn.Config(
        rest_server.build_app(models, limits),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GRACE_SECONDS.value,
    )
    # uvicorn raises the signal again when all has ended: it is then no failure any more.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    stop = threading.Event()
    poll = threading.Thread(
        target=models.refresh_until, args=(stop, _POLL_SECONDS.value), daemon=True
    )
    with socket.create_server((_HOST.value, _PORT.value), backlog=2048) as listener:
        url = "http://{}:{}/v1/models".format(*listener.getsockname()[:2])
        poll.start()
        print("A stand-in for TensorFlow Serving, for local development:", flush=True)
        for name in models.names():
            print(f"  {url}/{name}", flush=True)
        uvicorn.Server(config).run(sockets=[listener])
    stop.set()
    logging.info("stopped")


def _warn_of_memory(num_bytes: int) -> None:
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if num_bytes > there:
        logging.warning(
            "--num_threads pictures of --max_pixels may take %.0f GB, %d bytes a pixel, and this "
            "machine has %.0f GB: lower --max_pixels for clients you do not know",
            *(num_bytes / 1e9, _BYTES_PER_PIXEL, there / 1e9),
        )


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flag_as_required("model_base")
    command_line.run(main)


if __name__ == "__main__":
    run()
