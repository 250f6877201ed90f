"""Gives hostile inputs to every reader and counts what came of them.

  python -m tests.benchmarks.fuzz --num_inputs=10000 --seed=0 --json=fuzz.json

Input k is of kind k modulo their number and made of the seed and k alone, by a process of its own,
so that one which ends by a signal, hangs or takes all memory is counted and named. A single input
again: `--kind='label TIFF' --first=1234 --num_inputs=1`.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time

from absl import app, flags
from tqdm import tqdm

_NUM_INPUTS = flags.DEFINE_integer("num_inputs", 10_000, "Inputs in all.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the inputs.", lower_bound=0)
_FIRST = flags.DEFINE_integer("first", 0, "Number of the first input.", lower_bound=0)
_KIND = flags.DEFINE_string("kind", None, "The only kind; by default all in turn.")
_JSON = flags.DEFINE_string("json", None, "File for the counts and the faults.")

_SECONDS = 60  # An input may take, on a machine that does other things too.
_START_SECONDS = 300
_ADDRESS_BYTES = 24 * 2**30  # Of a process: a runaway allocation fails before the machine does.


def main(argv):
    """Prints the table; returns 1 if there is a fault."""
    del argv
    kinds = [_KIND.value] if _KIND.value else _kind_names()
    faults, counts = [], {name: {} for name in kinds}
    worker = Worker()
    for number in tqdm(range(_FIRST.value, _FIRST.value + _NUM_INPUTS.value)):
        name = kinds[number % len(kinds)]
        verdict, detail = worker.run(name, (_SEED.value, number))
        counts[name][verdict] = counts[name].get(verdict, 0) + 1
        if verdict == "fault":
            faults.append({"kind": name, "number": number, "detail": detail})
            tqdm.write(f"{name}, {number}: {detail}")
    worker.end()
    print(table(counts))
    if _JSON.value:
        with open(_JSON.value, "w", encoding="utf-8") as file:
            json.dump({"seed": _SEED.value, "counts": counts, "faults": faults}, file, indent=2)
    return 1 if faults else 0


def table(counts):
    """Markdown of what came of the inputs of each kind."""
    verdicts = ("right", "other", "refused", "fault")
    rows = [(name, *(of.get(verdict, 0) for verdict in verdicts)) for name, of in counts.items()]
    rows.append(("all", *(sum(row[k] for row in rows) for k in range(1, 5))))
    head = "| input | number | right | other content | refused, named | faults |\n|" + "---|" * 6
    lines = [
        f"| {name} | {sum(numbers):,} | " + " | ".join(f"{x:,}" for x in numbers) + " |"
        for name, *numbers in rows
    ]
    return "\n".join([head, *lines])


class Worker:
    """A process that reads inputs, started again after one that ended it."""

    def __init__(self):
        """Starts nothing yet."""
        self._process, self._pipe = None, None

    def run(self, name, seed):
        """(verdict, detail) of one input."""
        if self._process is None:
            self._start()
        self._pipe.send((name, seed))
        try:
            if self._pipe.poll(_SECONDS):
                return self._pipe.recv()
            why = f"hangs: no answer in {_SECONDS} s"
        except EOFError:
            self._process.join()
            why = f"the process ended with {self._process.exitcode}"
        self.end()
        return "fault", why

    def end(self):
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = None

    def _start(self):
        # Not forked: a copy of a process that runs TensorFlow can hang.
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()
        started = time.monotonic()
        if not self._pipe.poll(_START_SECONDS):
            raise TimeoutError(f"no process within {time.monotonic() - started:.0f} s")
        self._pipe.recv()


def _kind_names():
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # They need TensorFlow.
        return pool.apply(_names)


def _names():
    from tests.fuzzing.kinds import KINDS

    return list(KINDS)


def _serve(pipe):
    """Answers inputs with outcomes, until the pipe ends."""

    from absl import logging

    from tests.fuzzing.cases import run_case
    from tests.fuzzing.kinds import KINDS

    logging.set_verbosity(logging.ERROR)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_BYTES, _ADDRESS_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stderr = open("/dev/null", "w", encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        pipe.send("ready")
        while True:
            name, seed = pipe.recv()
            try:
                outcome = run_case(KINDS[name], seed, folder)
            except Exception as error:
                outcome = "fault", f"the fuzzer itself: {error!r}"
            pipe.send(tuple(outcome))


if __name__ == "__main__":
    app.run(main)
