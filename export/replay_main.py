"""Runs the warm-up requests of an exported model, as a server does that loads it.

Prints for each signature how long the first request takes, and the same one again.

Example:
  python -m export.replay_main --model=exports/digits
"""

from absl import flags

from data_pipeline import command_line
from export.warm_up import replay
from rpe_tf.saved_model import find_version

_MODEL = flags.DEFINE_string(
    "model", None, "Folder of an exported model (its newest version) or of one version."
)


def main(argv: list[str]) -> None:
    """Replays all; raises ValueError where the model refuses one."""
    del argv
    folder = find_version(_MODEL.value)
    num_requests = 0
    print(f"{'signature':<22}  {'first (s)':>9}  {'again (s)':>9}")
    for row in replay(folder):
        print(
            f"{row.signature:<22}  {row.first_seconds:9.3f}  {row.again_seconds:9.3f}", flush=True
        )
        num_requests += 1
    print(f"{folder} answers its {num_requests} warm-up requests.")


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["model"])
    command_line.run(main)


if __name__ == "__main__":
    run()
