"""Loads a real `export.serve_main` with clients, bad requests and a new version half-way.

Every answer is compared with what the model finds in this process; every bad request must be
refused. Nothing may fail while version 2, a copy of version 1, takes over. Beforehand, in this
process: the share of the time of an answer that is not the net's own, on the same pictures.

Example:
  python -m tests.benchmarks.bench_serving --model=rpe_tf/pretrained/nuclei \
    --images=../shared/data/nuclei/images --json=serving.json
"""

import io
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import flags, logging
from PIL import Image

from data_pipeline import command_line
from export import rest_client
from rpe_tf.saved_model import Segmenter, find_version
from tests.benchmarks.benchmark_report import write_json
from tests.benchmarks.measurement import machine_facts
from tests.benchmarks.serving_requests import (
    Case,
    as_png,
    bad_requests,
    mixed_pictures,
    resident_bytes,
)

_MODEL = flags.DEFINE_string("model", None, "Folder of an exported model that finds instances.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of pictures.")
_JSON = flags.DEFINE_string("json", None, "File for the figures.")
_SECONDS = flags.DEFINE_float("seconds", 120.0, "Of load.", lower_bound=1.0)
_CLIENTS = flags.DEFINE_integer("clients", 8, "That ask at once.", lower_bound=1)
_PICTURES = flags.DEFINE_integer("pictures", 24, "Different pictures.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Of the share of the net.", lower_bound=1)

_BAD_EVERY = 10
_SAMPLE_SECONDS = 0.5
_MODEL_NAME = "model"


class Reply(NamedTuple):
    """How a request ended."""

    kind: str  # "picture", or what was bad about it
    seconds: float
    problem: str  # why that is not how it must end; else empty


def time_shares(loaded: object, cases: list[Case], rounds: int) -> dict[str, float]:
    """Returns seconds of net and of whole answer for all pictures, and the share that is not net.

    The two take turns on each picture; medians over the rounds.
    """
    seconds = {"embedding": 0.0, "serving_default": 0.0}
    for case in cases:
        image = tf.constant(case.image[np.newaxis])
        times = {name: [] for name in seconds}
        for number in range(rounds + 1):
            for name in seconds:
                start = time.perf_counter()
                for output in loaded.signatures[name](image=image).values():
                    output.numpy()
                if number:  # The first one sets up.
                    times[name].append(time.perf_counter() - start)
        for name in seconds:
            seconds[name] += statistics.median(times[name])
    return {**seconds, "share": 1.0 - seconds["embedding"] / seconds["serving_default"]}


def ask_until(url: str, cases: list[Case], deadline: float, first: int) -> list[Reply]:
    """Returns the replies to one client's requests; every tenth of them is bad.

    Args:
      url: of the model.
      cases: pictures, asked for in turn.
      deadline: of `time.perf_counter`, after which no request begins.
      first: number of the request to begin with, so that clients do not march in step.
    """
    bad = list(bad_requests(cases[0].image).items())
    replies, number = [], first
    while time.perf_counter() < deadline:
        number += 1
        start = time.perf_counter()
        if number % _BAD_EVERY == 0:
            kind, content = bad[number // _BAD_EVERY % len(bad)]
            problem = _problem_of_refusal(url, content)
        else:
            kind, case = "picture", cases[number % len(cases)]
            problem = _problem_of_answer(url, case)
        replies.append(Reply(kind, time.perf_counter() - start, problem))
    return replies


def _problem_of_refusal(url: str, content: dict) -> str:
    try:
        rest_client.post(f"{url}:predict", content, attempts=1, timeout_seconds=120)
    except ValueError as error:
        return "" if " answers 400: " in str(error) else str(error)
    except OSError as error:
        return str(error)
    return "answered though it is bad"


def _problem_of_answer(url: str, case: Case) -> str:
    try:
        answer = rest_client.predict(url, case.png, timeout_seconds=120)
    except (OSError, ValueError) as error:
        return str(error)
    with Image.open(io.BytesIO(answer["instance_bytes"])) as picture:
        is_equal = np.array_equal(np.asarray(picture), case.instance)
    return "" if is_equal else "answered otherwise than in this process"


def sample_memory(process_id: int, stop: threading.Event) -> list[tuple[float, int]]:
    """Returns moments of `time.perf_counter` and bytes resident at them, until stop is set."""
    samples = []
    while not stop.wait(_SAMPLE_SECONDS):
        samples.append((time.perf_counter(), resident_bytes(process_id)))
    return samples


def run_load(version_folder: str, cases: list[Case]) -> dict:
    """Returns the figures of a server under load, with a new version half-way."""
    with tempfile.TemporaryDirectory() as base:
        model_dir = os.path.join(base, _MODEL_NAME)
        shutil.copytree(version_folder, os.path.join(model_dir, "1"))
        command = [sys.executable, "-m", "export.serve_main", f"--model_base={model_dir}"]
        server = subprocess.Popen([*command, "--port=0"], stdout=subprocess.PIPE, text=True)
        try:
            url = next(line.strip() for line in server.stdout if "http://" in line)
            return _load_server(server.pid, url, cases, version_folder, model_dir)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=120)


def _load_server(
    process_id: int, url: str, cases: list[Case], version_folder: str, model_dir: str
) -> dict:
    stop = threading.Event()
    start = time.perf_counter()
    deadline = start + _SECONDS.value
    with ThreadPoolExecutor(_CLIENTS.value + 1) as pool:
        memory = pool.submit(sample_memory, process_id, stop)
        clients = [
            pool.submit(ask_until, url, cases, deadline, 7 * number)
            for number in range(_CLIENTS.value)
        ]
        time.sleep(_SECONDS.value / 2)
        swap_begin = time.perf_counter()
        temporary = os.path.join(model_dir, ".unfinished-2")
        shutil.copytree(version_folder, temporary)
        os.rename(temporary, os.path.join(model_dir, "2"))
        while not rest_client.is_available(f"{url}/versions/2") and not all(
            client.done() for client in clients
        ):
            time.sleep(0.1)
        swap_end = time.perf_counter()
        replies = [reply for client in clients for reply in client.result()]
        seconds = time.perf_counter() - start
        stop.set()
    return {
        "swap_seconds": swap_end - swap_begin,
        **reply_figures(replies, seconds),
        **memory_figures(memory.result(), start, swap_begin, seconds),
    }


def reply_figures(replies: list[Reply], seconds: float) -> dict:
    """Returns throughput, latency and what went wrong."""
    good = [reply.seconds for reply in replies if reply.kind == "picture"]
    bad = [reply for reply in replies if reply.kind != "picture"]
    return {
        "pictures_per_second": len(good) / seconds,
        "answered": len(good),
        "p50_seconds": float(np.percentile(good, 50)),
        "p99_seconds": float(np.percentile(good, 99)),
        "refused": len(bad),
        "kinds_refused": len({reply.kind for reply in bad}),
        "problems": sorted({f"{x.kind}: {x.problem}" for x in replies if x.problem}),
        "num_problems": sum(bool(reply.problem) for reply in replies),
    }


def memory_figures(
    samples: list[tuple[float, int]], start: float, swap_begin: float, seconds: float
) -> dict:
    """Returns resident MB at the start, after a quarter, before the new version, at the end."""
    moments = {
        "start": start,
        "warm": start + seconds / 4,
        "before_swap": swap_begin,
        "end": start + seconds,
    }
    nearest = {
        name: min(samples, key=lambda sample: abs(sample[0] - moment))[1] / 1e6
        for name, moment in moments.items()
    }
    return {f"mb_{name}": megabytes for name, megabytes in nearest.items()} | {
        "mb_peak": max(size for _, size in samples) / 1e6,
        "mb_over_time": [[round(t - start, 1), round(size / 1e6)] for t, size in samples],
    }


def table(figures: dict, shares: dict) -> str:
    """Returns the figures as markdown."""
    rows = {
        "pictures answered, all as in process": f"{figures['answered']}",
        "pictures a second": f"{figures['pictures_per_second']:.2f}",
        "latency p50 / p99 (s)": f"{figures['p50_seconds']:.2f} / {figures['p99_seconds']:.2f}",
        "bad requests refused": f"{figures['refused']} of {figures['kinds_refused']} kinds",
        "failed or answered wrongly": f"{figures['num_problems']}",
        "new version serves after (s)": f"{figures['swap_seconds']:.1f}",
        "MB at start / after a quarter / before the new version / at the end": " / ".join(
            f"{figures[f'mb_{name}']:.0f}" for name in ("start", "warm", "before_swap", "end")
        ),
        "MB more from a quarter to the new version": (
            f"{figures['mb_before_swap'] - figures['mb_warm']:+.0f}"
        ),
        "share of the time outside the net": f"{shares['share']:.0%}",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def main(argv: list[str]) -> int | None:
    """Prints the table; returns 1 if a request ended otherwise than it must."""
    del argv
    folder = find_version(_MODEL.value)
    loaded = tf.saved_model.load(folder)
    segmenter = Segmenter(loaded)
    cases = [
        Case(image, as_png(image), segmenter.predict(image).instance)
        for image in mixed_pictures(_IMAGES.value, _PICTURES.value)
    ]
    logging.info("%d pictures are ready", len(cases))
    shares = time_shares(loaded, cases, _ROUNDS.value)
    logging.info("share outside the net: %.3f", shares["share"])
    figures = run_load(folder, cases)
    content = {
        "machine": machine_facts(("tensorflow", "starlette", "uvicorn")),
        "sizes": [list(case.instance.shape) for case in cases],
        "shares": shares,
        **figures,
    }
    if _JSON.value:
        write_json(_JSON.value, content)
    print(table(figures, shares))
    for problem in figures["problems"][:20]:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if figures["num_problems"] else None


if __name__ == "__main__":
    flags.mark_flags_as_required(["model", "images"])
    command_line.run(main)
