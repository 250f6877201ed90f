"""What every command does alike: a known error is one line on standard error, not a traceback."""

import sys
from collections.abc import Callable

import tensorflow as tf
from absl import app


def run(main: Callable[[list[str]], int | None]) -> None:
    """Runs an absl main; a known error ends the process with one line and exit code 1."""

    def main_in_one_line(argv: list[str]) -> int | None:
        try:
            return main(argv)
        # TensorFlow's file system reports a full disk or a forbidden folder as an OpError.
        except (ValueError, OSError, ArithmeticError, tf.errors.OpError) as error:
            print(f"error: {getattr(error, 'message', error)}", file=sys.stderr)
            return 1

    app.run(main_in_one_line)
