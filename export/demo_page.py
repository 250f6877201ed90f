"""The page of `demo_main`: what stands where, and what happens at a drop, a slide and a click."""

import html
import logging
import os
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import gradio as gr
import tensorflow as tf
from gradio import processing_utils
from PIL import Image

from export import exploration
from export.exploration import Explored
from rpe_tf.drawing import embedding_to_rgb, overlay
from rpe_tf.saved_model import Segmenter

# Sliders reach so far, or to a few times what the export has.
_MOST_CONCENTRATION, _MOST_LOOPS, _MOST_AREA = 200, 50, 500
# Pages whose pictures and embeddings are held; files of others go after so many seconds.
_MOST_PAGES, _SECONDS_HELD = 8, 3600
_LARGEST_UPLOAD = "200mb"
_TITLE = "Pixel embedding and grouping"
_WORDS = """# Pixel embedding and grouping
Drop a picture: the net gives each pixel a unit vector, and mean shift groups the vectors. The \
sliders group anew, without the net. Click a pixel in one of the upper pictures to see which \
pixels are like it, and where the loops take it among a sample of others. All of it stays on this \
machine."""
_PATH = "**Path** of the clicked pixel over the loops"
_NO_PATH = "**No path**: the class of this pixel is background, which is not grouped"
_CSS = """
.gradio-container {max-width: 1400px !important; margin: 0 auto !important;}
#status p {margin: 0; padding: 0.5rem 0.75rem; border-radius: 6px;}
#status p.said {background: #e8eef7; color: #1d2b3e;}
#status p.error {background: #fdecea; color: #8a1c11; font-weight: 600;}
.shown img {image-rendering: pixelated;}
.clickable img {cursor: crosshair;}
"""


def build_page(segmenter: Segmenter, own: dict, max_pixels: int) -> gr.Blocks:
    """Returns the page, ready to be launched.

    Args:
      segmenter: of `exploration.open_segmenter`.
      own: of `exploration.own_parameters`; where the sliders stand at first.
      max_pixels: of a picture, at the most.
    """
    with gr.Blocks(
        title=_TITLE, analytics_enabled=False, delete_cache=(_SECONDS_HELD, _SECONDS_HELD)
    ) as page:
        gr.Markdown(_WORDS)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                file = gr.File(label=f"Picture, up to {max_pixels:,} pixels", height=140)
                status = gr.HTML(_told("No picture yet."), elem_id="status", padding=False)
                sliders = _sliders(own)
                labels = gr.DownloadButton("Label PNG", interactive=False, elem_id="labels")
                table = gr.DownloadButton("JSON (COCO RLE)", interactive=False, elem_id="table")
            with gr.Column(scale=3, min_width=300):
                with gr.Row():
                    instances, _ = _shown("**Instances**; click a pixel", "instances")
                    embedding, _ = _shown("**Embedding** as colours; click a pixel", "embedding")
                with gr.Row():
                    words = "**Similarity** to the clicked pixel (Eq. 1): 0 dark, 1 bright"
                    alike, _ = _shown(words, "alike", is_clickable=False)
                    path, caption = _shown(_PATH, "path", is_clickable=False)
        parts = _Parts(
            *(file, sliders, status, instances, embedding, alike, path, caption),
            files=[labels, table],
        )
        _connect(parts, _Handlers(segmenter, own, max_pixels))
    return page


class _Parts(NamedTuple):
    """What of the page events change, or come from."""

    file: gr.File
    sliders: list[gr.Slider]
    status: gr.HTML
    instances: gr.Image
    embedding: gr.Image
    alike: gr.Image
    path: gr.Image
    caption: gr.Markdown  # of the path
    files: list[gr.DownloadButton]


def _connect(parts: _Parts, handlers: "_Handlers") -> None:
    """Connects the events of the page that is being built with what happens at them."""
    explored, pixel, walked = (gr.State(None) for _ in range(3))

    # One at a time: what an event finds in the states is what the one before has left.
    def one_at_a_time(name: str) -> dict:
        return {"concurrency_id": name, "concurrency_limit": 1, "api_visibility": "private"}

    # Not in one line with the grouping, which shall not wait for them.
    walk = {
        "fn": handlers.walk,
        "inputs": [explored, pixel, walked],
        "outputs": [walked, parts.path, parts.caption],
        "show_progress": "hidden",
        **one_at_a_time("walk"),
    }
    write = {
        "fn": handlers.write,
        "inputs": explored,
        "outputs": parts.files,
        "show_progress": "hidden",
        **one_at_a_time("write"),
    }
    shown = [parts.status, parts.instances, parts.embedding, parts.alike]
    opened = parts.file.change(
        *(handlers.open, [parts.file, *parts.sliders], [explored, pixel, *shown, *parts.files]),
        **one_at_a_time("group"),
    )
    regrouped = gr.on(
        [slider.change for slider in parts.sliders],
        *(handlers.regroup, [explored, *parts.sliders]),
        [explored, parts.status, parts.instances, *parts.files],
        trigger_mode="always_last",
        show_progress="hidden",
        **one_at_a_time("group"),
    )
    for event in (opened, regrouped):
        event.then(**write)
        event.then(**walk)
    for picture in (parts.instances, parts.embedding):
        clicked = picture.select(
            handlers.click, explored, [pixel, parts.alike], **one_at_a_time("group")
        )
        clicked.then(**walk)


def serve(make_page: Callable[[], gr.Blocks], port: int) -> None:
    """Serves a page on this machine alone, until it is interrupted.

    Args:
      make_page: called here, as the page's files are to lie in a folder that goes with it.
      port: 1 to 65535.

    Raises:
      OSError: if the port is taken.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    with tempfile.TemporaryDirectory(prefix="rpe_page_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        make_page().launch(
            server_name="127.0.0.1",
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            theme=theme.set(block_info_text_color="*neutral_600"),
            css=_CSS,
            footer_links=[],
            state_session_capacity=_MOST_PAGES,
            max_file_size=_LARGEST_UPLOAD,
            ssr_mode=False,
        )
        print(f"the page is at http://127.0.0.1:{port}; Ctrl-C ends it", flush=True)
        while True:
            time.sleep(1)


class _Handlers:
    """What happens at an event; the model and its parameters are the same for all of them."""

    def __init__(self, segmenter: Segmenter, own: dict, max_pixels: int) -> None:
        self._segmenter, self._own, self._max_pixels = segmenter, own, max_pixels

    def open(self, path: str | None, *chosen: float) -> tuple:
        """A file was dropped, or taken away."""
        nothing = [None, None, None, *_no_files()]
        if path is None:
            return None, None, _told("No picture yet."), *nothing
        began = time.monotonic()
        try:
            explored = exploration.explore(
                self._segmenter, path, self._parameters(chosen), self._max_pixels
            )
            colors = embedding_to_rgb(explored.embedded["embedding"][0].numpy())
        except (ValueError, tf.errors.OpError) as error:
            return None, None, _told(_message(error), "error"), *nothing
        said = _told(f"{_described(explored)}; net and grouping in {_since(began)}")
        drawn = Image.fromarray(exploration.enlarge(colors))
        return explored, None, said, _draw_instances(explored), drawn, None, *_no_files()

    def regroup(self, explored: Explored | None, *chosen: float) -> tuple:
        """A slider was moved."""
        if explored is None:
            return None, gr.skip(), None, *_no_files()
        began = time.monotonic()
        try:
            explored = exploration.regroup(self._segmenter, explored, self._parameters(chosen))
        except tf.errors.OpError as error:
            return explored, _told(_message(error), "error"), gr.skip(), *_no_files()
        said = _told(f"{_described(explored)}; grouped anew in {_since(began)}")
        return explored, said, _draw_instances(explored), *_no_files()

    def click(self, explored: Explored | None, event: gr.SelectData) -> tuple:
        """A pixel was clicked."""
        if explored is None:
            return None, None
        pixel = exploration.clicked_pixel(explored, *event.index)
        return pixel, exploration.draw_similarity(explored, pixel)

    def walk(
        self, explored: Explored | None, pixel: tuple[int, int] | None, walked: tuple | None
    ) -> tuple:
        """The path of the pixel last clicked may have changed; walked says what is drawn."""
        if explored is None or pixel is None:
            return None, None, _PATH
        # Of several slides in a row, the first walk after them has drawn the last.
        if walked is not None and walked[0] is explored and walked[1] == pixel:
            return walked, gr.skip(), gr.skip()
        drawn = exploration.draw_pixel_path(explored, pixel)
        return (explored, pixel), drawn, _NO_PATH if drawn is None else _PATH

    def write(self, explored: Explored | None) -> list:
        """The files to be downloaded have changed."""
        if explored is None:
            return _no_files()
        with tempfile.TemporaryDirectory() as folder:
            # Read at once: the folder goes, and what the page serves lies in its own.
            paths = exploration.write_results(explored, folder)
            return [gr.DownloadButton(value=_kept(path), interactive=True) for path in paths]

    def _parameters(self, chosen: tuple[float, ...]) -> dict:
        concentration, max_loops, min_area = chosen
        asked = {
            "concentration": float(concentration),
            "max_loops": int(max_loops),
            "min_area": int(min_area),
        }
        return {**self._own, **asked}


def _no_files() -> list[gr.DownloadButton]:
    """Returns the buttons as they are until `write` has the files of what is shown."""
    return [gr.DownloadButton(value=None, interactive=False) for _ in range(2)]


def _sliders(own: dict) -> list[gr.Slider]:
    concentration, loops, area = (own[name] for name in ("concentration", "max_loops", "min_area"))
    return [
        gr.Slider(
            *(1, max(_MOST_CONCENTRATION, round(3 * concentration)), concentration),
            step=1,
            label="Concentration κ",
            info="Bandwidth 1/√κ, in radians on the sphere: larger κ, smaller groups",
            elem_id="concentration",
        ),
        gr.Slider(
            *(0, max(_MOST_LOOPS, loops), loops),
            step=1,
            label="Loops at the most",
            info="Of mean shift; they end early where nothing moves any more",
            elem_id="max_loops",
        ),
        gr.Slider(
            *(1, max(_MOST_AREA, 3 * area), area),
            step=1,
            label="Smallest instance, in pixels",
            elem_id="min_area",
        ),
    ]


def _shown(words: str, name: str, is_clickable: bool = True) -> tuple[gr.Image, gr.Markdown]:
    """Returns a picture without controls, which would hide pixels, and the words above it."""
    with gr.Column(min_width=300):
        caption = gr.Markdown(words)
        picture = gr.Image(
            show_label=False,
            elem_id=name,
            elem_classes=["shown", "clickable"] if is_clickable else ["shown"],
            interactive=False,
            format="png",
            buttons=[],
        )
    return picture, caption


def _draw_instances(explored: Explored) -> Image.Image:
    drawn = overlay(explored.image, explored.prediction.instance)
    return Image.fromarray(exploration.enlarge(drawn))


def _described(explored: Explored) -> str:
    height, width = explored.image.shape[:2]
    number = len(explored.prediction.table)
    return f"{explored.name}, {width} × {height} pixels: {number} instances"


def _kept(path: str) -> str:
    """Returns the path of a copy among the files that the page serves."""
    return processing_utils.save_file_to_cache(path, os.environ["GRADIO_TEMP_DIR"])


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.2f} s"


def _message(error: Exception) -> str:
    return f"Not shown: {getattr(error, 'message', error)}"


def _told(words: str, kind: str = "said") -> str:
    return f'<p class="{kind}" role="status">{html.escape(words)}</p>'
