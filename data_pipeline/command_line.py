"""What every command does alike: a known error is one line on standard error, not a traceback."""

import sys
from collections.abc import Callable
from logging import Formatter

import tensorflow as tf
from absl import app, logging


def run(main: Callable[[list[str]], int | None]) -> None:
    """Runs an absl main; a known error ends the process with one line and exit code 1."""

    def main_in_one_line(argv: list[str]) -> int | None:
        try:
            return main(argv)
        # TensorFlow's file system reports a full disk or a forbidden folder as an OpError.
        except (ValueError, OSError, ArithmeticError, tf.errors.OpError) as error:
            print(f"error: {getattr(error, 'message', error)}", file=sys.stderr)
            return 1

    logging.set_verbosity(logging.INFO)
    # TensorFlow logs through absl too; its lines would stand between those of the progress.
    logging.get_absl_handler().addFilter(lambda record: "tensorflow" not in record.pathname)
    logging.get_absl_handler().setFormatter(Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    app.run(main_in_one_line)
