"""A page to look at an exported model: instances, embedding, and what the bandwidth does to them.

It runs on this machine alone and needs no network. Extra `[demo]`.

Example:
  python -m export.demo_main --model=rpe_tf/pretrained/nuclei
"""

from absl import flags

from data_pipeline import command_line
from export import exploration

_MODEL = flags.DEFINE_string(
    "model", None, "Folder of an exported model (its newest version) or of one version."
)
_PORT = flags.DEFINE_integer(
    "port", 7860, "Of 127.0.0.1, where the page is.", lower_bound=1, upper_bound=65535
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels",
    2**21,
    "Of a picture, which is refused above; a million take some 0.7 GB of memory; at least 1.",
    lower_bound=1,
)


def main(argv: list[str]) -> None:
    """Serves the page until it is interrupted."""
    del argv
    try:
        from export import demo_page
    except ModuleNotFoundError as error:
        raise ValueError(f"the page needs {error.name}: pip install '.[demo]'") from error
    segmenter = exploration.open_segmenter(_MODEL.value)
    own = exploration.own_parameters(_MODEL.value)
    exploration.warm_up(segmenter, own)
    demo_page.serve(lambda: demo_page.build_page(segmenter, own, _MAX_PIXELS.value), _PORT.value)


def run() -> None:
    """Starts the command; the console entry point."""
    flags.mark_flags_as_required(["model"])
    command_line.run(main)


if __name__ == "__main__":
    run()
