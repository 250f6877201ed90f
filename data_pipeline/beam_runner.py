"""Work shared out by Apache Beam: on this machine, or on the workers of a cluster or a service."""

from __future__ import annotations

import contextlib
import functools
import io
import logging as standard_logging
import pickle
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from data_pipeline.shard_writing import ShardJob, write_shard

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
except ImportError:  # It comes with the extra [beam]; run_on_beam says so.
    beam = None

# Beam's DirectRunner first tries Prism, a program it fetches from the network and to which the
# options of the DirectRunner mean nothing. This is the runner it falls back to.
_DIRECT_RUNNER = "FnApiRunner"
# Beam logs many lines about itself; of use are those of the job that runs elsewhere.
_QUIET, _HEARD = "apache_beam", ("dataflow", "portability.portable_runner")
_COUNTERS, _PICTURES = "rpe", "pictures"


def run_on_beam(jobs: Sequence[ShardJob], *, runner: str, options: Sequence[str]) -> None:
    """Writes all shards in one Beam pipeline, whose unit of work is a shard.

    No bad picture ends it: each is listed in its shard's record, and the caller decides. Beam
    counts the pictures as metric "pictures".

    Workers on other machines need three things. This package with TensorFlow: in the image that
    --sdk_container_image names (Dataflow), or --environment_config with --environment_type=DOCKER
    (Flink, Spark); or installed by the worker from --extra_package, a .tar.gz of `python -m build`,
    or by --setup_file. The pictures, at paths they can read. And output_dir on storage shared with
    this process, which TensorFlow's file system knows, such as gs://bucket/folder. Interrupting
    this process does not end their job.

    Args:
      jobs: shards to write; they can be pickled.
      runner: name of a Beam runner, such as DirectRunner, DataflowRunner, FlinkRunner, SparkRunner.
      options: of the pipeline, such as "--project=NAME"; sys.argv is not read. For several cores of
        this machine "--direct_num_workers=0" with "--direct_running_mode=multi_processing".

    Raises:
      ValueError: Beam is not installed or does not know the runner, an option is malformed or
        missing, or the shards are not to be found afterwards.
      OSError: the pipeline failed, other than by a bad picture.
    """
    _require_beam()
    if not jobs:
        return
    # Compressed, because the jobs are a part of the pipeline, whose size services limit.
    parcels = [zlib.compress(pickle.dumps(job._replace(is_stopping=False))) for job in jobs]
    total = sum(len(job.sources) for job in jobs)
    logging.info("%s: %d shards of %d pictures", runner, len(jobs), total)
    start = time.monotonic()
    counts = map_on_beam(_write_parcel, parcels, runner=runner, options=options)
    seconds = time.monotonic() - start
    logging.info("%s: %d pictures in %.1f s", runner, counts.get(_PICTURES, 0), seconds)
    require_written([f"{job.path}.json" for job in jobs], runner)


def map_on_beam(
    work: Callable[[Any, Callable[..., None]], object],
    items: Sequence[Any],
    *,
    runner: str,
    options: Sequence[str],
) -> dict[str, int]:
    """Calls work(item, count) once for each item, and again where a worker was lost meanwhile.

    Args:
      work: a function of a module that workers can import; it calls count(name, n), n = 1 unless
        given, for metrics that Beam shows, and raises only what shall end the pipeline.
      items: at least one; they are a part of the pipeline, so some bytes to kilobytes each.
      runner: as in `run_on_beam`.
      options: as in `run_on_beam`.

    Returns:
      The metrics by name, with what was done twice counted twice.

    Raises:
      ValueError: Beam is not installed or does not know the runner, or an option is malformed or
        missing.
      OSError: the pipeline failed.
    """
    _require_beam()
    _choose_log_lines()
    pipeline = _new_pipeline(runner, options)
    shared = pipeline | "Jobs" >> beam.Create(items)
    # Else a runner may fuse the steps and hand all jobs to one worker.
    shared = shared | "Share out" >> beam.Reshuffle()
    _ = shared | "Work" >> beam.Map(work, _count)
    return _run(pipeline, runner)


def require_written(paths: Sequence[str], runner: str) -> None:
    """Returns nothing.

    Raises:
      ValueError: if none of the paths is there although the runner has written them.
    """
    if not any(tf.io.gfile.exists(path) for path in paths):
        raise ValueError(
            f"{runner} has ended, but {paths[0]} is not here; choose an --output_dir on "
            "storage that its workers share with this machine, such as gs://bucket/folder"
        )


def _require_beam() -> None:
    if beam is None:
        raise ValueError("--runner needs Apache Beam; install it with: pip install '.[beam]'")


def _choose_log_lines() -> None:
    standard_logging.getLogger(_QUIET).setLevel(standard_logging.WARNING)
    for name in _HEARD:
        standard_logging.getLogger(f"{_QUIET}.runners.{name}").setLevel(standard_logging.INFO)


def _new_pipeline(runner: str, options: Sequence[str]) -> beam.Pipeline:
    name = _DIRECT_RUNNER if runner.lower() in ("direct", "directrunner") else runner
    parsed = _parse_options(options)
    try:
        return beam.Pipeline(runner=name, options=parsed)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no runner {runner!r}: {error}") from error


def _parse_options(options: Sequence[str]) -> PipelineOptions:
    for option in options:
        if not option.startswith("--"):
            raise ValueError(f"--beam_option must look like --beam_option=--NAME=x, got {option!r}")
    complaint = io.StringIO()
    try:
        # Beam would print all of its options and end the process.
        with contextlib.redirect_stderr(complaint):
            parsed = PipelineOptions(list(options))
            parsed.get_all_options()
    except SystemExit as error:
        reason = complaint.getvalue().strip().splitlines()[-1].split("error: ")[-1]
        raise ValueError(f"--beam_option: {reason}") from error
    return parsed


def _write_parcel(parcel: bytes, count: Callable[..., None]) -> None:
    """Writes the shard of one job, wherever this runs."""
    write_shard(pickle.loads(zlib.decompress(parcel)), functools.partial(count, _PICTURES))


def _count(name: str, n: int = 1) -> None:
    beam.metrics.Metrics.counter(_COUNTERS, name).inc(n)


def _run(pipeline: beam.Pipeline, runner: str) -> dict[str, int]:
    """Runs the pipeline to its end; returns what it has counted, by name."""
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except RuntimeError as error:  # What workers and job servers report.
        raise OSError(f"{runner} failed: {error}") from error
    if state != beam.runners.runner.PipelineState.DONE:
        raise OSError(f"{runner} ended as {state}; its own log says why")
    found = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(_COUNTERS))
    counts = Counter()
    for counter in found["counters"]:
        counts[counter.key.metric.name] += counter.result
    return dict(counts)
