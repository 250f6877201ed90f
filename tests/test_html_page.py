"""Pages that are one file: nothing is asked of a network, and words stay words."""

import base64
import io
import re

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from rpe_tf import html_page

_PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def sources(text):
    return re.findall(r'(?:src|href)="([^"]*)"', text)


def pixels_of(source):
    kind, _, content = source.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def _plot():
    figure = Figure(figsize=(2, 2))
    figure.add_subplot().plot([1, 2], [3, 4], label="a")
    return html_page.plot(figure, "a curve")


def test_page_asks_nothing_of_a_network():
    parts = [html_page.picture(_PIXELS, "a"), html_page.frames([_PIXELS] * 3, "b"), _plot()]
    text = html_page.page("All", {"First": html_page.row(parts), "Second": ""})
    assert len(sources(text)) == 5
    assert all(x.startswith("data:image/") for x in sources(text))
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text and 'name="viewport"' in text


def test_words_are_escaped_everywhere():
    bad = '<b>"&'
    parts = [
        html_page.words(bad),
        html_page.heading(bad),
        html_page.table([(bad, 1)], (bad, "n")),
        html_page.picture(_PIXELS, bad),
        html_page.frames([_PIXELS], bad),
        html_page.slider(bad, 3),
    ]
    text = html_page.page(bad, {bad: "".join(parts)})
    assert "<b>" not in text and 'alt="&lt;b&gt;&quot;&amp;"' in text
    # Title, h1, h2, paragraph, h3, two cells, and alt and caption of two pictures, and a label.
    assert text.count("&lt;b&gt;") == 12


def test_picture_keeps_its_pixels():
    (source,) = sources(html_page.picture(_PIXELS, "a"))
    np.testing.assert_array_equal(pixels_of(source), _PIXELS)


def test_all_frames_but_the_first_are_hidden_and_the_slider_ends_at_the_last():
    text = html_page.frames([_PIXELS, _PIXELS + 1, _PIXELS + 2], "loops")
    images = re.findall(r"<img[^>]*>", text)
    assert ["hidden" in image for image in images] == [False, True, True]
    np.testing.assert_array_equal(pixels_of(sources(text)[2]), _PIXELS + 2)
    assert 'min="0" max="2" value="0"' in html_page.slider("loops", 2)


def test_table_writes_numbers_dashes_and_words():
    text = html_page.table([("a", 0.123456, 3), ("b", None, float("nan"))], ("", "x", "y"))
    assert "0.1235" in text and text.count("–") == 2
    assert '<td class="number">3</td>' in text and '<th class="number">x</th>' in text
    assert html_page.table([]) == '<div class="wide"><table>\n\n</table></div>\n'
    # True is no number.
    assert "<td>True</td>" in html_page.table([(True,)])


def test_plot_gives_the_same_bytes_each_time():
    assert _plot() == _plot()
