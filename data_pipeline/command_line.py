"""What every command does alike: errors in one line, and how far it has come."""

import sys
from collections.abc import Callable
from logging import Formatter

import tensorflow as tf
from absl import app, logging
from tqdm import tqdm

# Seconds between two looks at a progress bar, on a screen and in a log file.
_SCREEN_SECONDS, _LOG_SECONDS = 0.2, 10.0


def run(main: Callable[[list[str]], int | None]) -> None:
    """Runs an absl main; a known error ends the process with one line and exit code 1."""

    def main_in_one_line(argv: list[str]) -> int | None:
        try:
            return main(argv)
        # TensorFlow's file system reports a full disk or a forbidden folder as an OpError.
        except (ValueError, OSError, ArithmeticError, tf.errors.OpError) as error:
            print(f"error: {getattr(error, 'message', error)}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; the same command goes on with what is left", file=sys.stderr)
            return 130  # 128 + SIGINT, as shells report it.

    logging.set_verbosity(logging.INFO)
    # TensorFlow logs through absl too; its lines would stand between those of the progress.
    logging.get_absl_handler().addFilter(lambda record: "tensorflow" not in record.pathname)
    logging.get_absl_handler().setFormatter(Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    app.run(main_in_one_line)


def progress_bar(total: int, title: str, unit: str) -> tqdm:
    """Returns a bar on stderr with count, rate and time to go; `update(n)` moves it on.

    Args:
      total: what the count ends at.
      title: what is going on.
      unit: what is counted, in the plural.
    """
    seconds = _SCREEN_SECONDS if sys.stderr.isatty() else _LOG_SECONDS
    return tqdm(total=total, desc=title, unit=f" {unit}", mininterval=seconds, file=sys.stderr)
