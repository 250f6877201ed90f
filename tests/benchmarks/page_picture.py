"""The page in a headless Chromium: its picture in the docs, and how long it takes to group anew.

python -m tests.benchmarks.page_picture --model=rpe_tf/pretrained/nuclei \
  --picture=../shared/data/nuclei/images/ID.png --output=docs/pictures/page.png
"""

import io
import os
import re
import statistics
import tempfile
import time

from absl import flags
from PIL import Image

from data_pipeline import command_line
from tests.page_browser import browser_tab, drop, missing, page_process, wait_for_words

_MODEL = flags.DEFINE_string("model", "rpe_tf/pretrained/nuclei", "Folder of an exported model.")
_PICTURE = flags.DEFINE_string("picture", None, "File of a picture.")
_CROP_PX = flags.DEFINE_integer("crop_px", 512, "Sides of what is taken of it.", lower_bound=1)
_CLICK = flags.DEFINE_list("click", ["0.5", "0.5"], "X,Y of the pixel clicked, as shares of it.")
_OUTPUT = flags.DEFINE_string("output", None, "PNG file for the picture of the page.")

_CONCENTRATIONS = (30, 20, 40, 16, 60, 24)
# Of the picture: enough to read it, few enough to be small.
_WIDTH_PX, _COLORS = 900, 128


def main(argv: list[str]) -> None:
    """Prints how long grouping anew takes, and writes the picture."""
    del argv
    if missing():
        raise ValueError(f"this needs {', '.join(missing())}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "nuclei.png")
        side = _CROP_PX.value
        Image.open(_PICTURE.value).convert("RGB").crop((0, 0, side, side)).save(path)
        with page_process(_MODEL.value) as address, browser_tab(address) as (tab, strangers):
            drop(tab, path)
            print(wait_for_words(tab, "net and grouping"))
            _measure(tab)
            _click(tab)
            content = tab.screenshot(full_page=True)
    print(f"asked of other machines: {strangers or 'nothing'}")
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    height = round(picture.height * _WIDTH_PX / picture.width)
    picture = picture.resize((_WIDTH_PX, height), Image.Resampling.LANCZOS)
    picture = picture.quantize(_COLORS, dither=Image.Dither.NONE)
    picture.save(_OUTPUT.value, optimize=True)
    print(f"wrote {_OUTPUT.value}, {os.path.getsize(_OUTPUT.value):,} bytes")


def _measure(tab) -> None:
    """Prints the seconds of grouping, and those until the browser shows the new picture."""
    grouping, shown = [], []
    box, image = tab.locator("#concentration input[type=number]"), tab.locator("#instances img")
    for concentration in _CONCENTRATIONS:
        before = image.get_attribute("src")
        began = time.monotonic()
        box.fill(str(concentration))
        box.press("Enter")
        tab.wait_for_function(
            "before => document.querySelector('#instances img').src != before", arg=before
        )
        shown.append(time.monotonic() - began)
        said = wait_for_words(tab, "grouped anew")
        grouping.append(float(re.search(r"in ([\d.]+) s", said).group(1)))
        tab.wait_for_timeout(1500)  # The files are written meanwhile.
    for name, seconds in (("grouped anew", grouping), ("until it is shown", shown)):
        values = ", ".join(f"{x:.2f}" for x in seconds)
        print(f"{name}: median {statistics.median(seconds):.2f} s of {values}")


def _click(tab) -> None:
    image = tab.locator("#instances img")
    box, (x, y) = image.bounding_box(), map(float, _CLICK.value)
    image.click(position={"x": x * box["width"], "y": y * box["height"]})
    tab.locator("#path img").wait_for()
    tab.wait_for_timeout(1000)


if __name__ == "__main__":
    flags.mark_flags_as_required(["picture", "output"])
    command_line.run(main)
