"""Pages that are one file: HTML with every picture inside, nothing asked of a network."""

import base64
import html
import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

# Of Okabe and Ito, apart for colour-blind eyes; the lines differ without colour too.
STYLES = tuple(
    {"color": color, "linestyle": line}
    for color, line in (
        *(("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#000000", ":")),
        *(("#CC79A7", (0, (5, 1, 1, 1, 1, 1))), ("#56B4E9", (0, (1, 1)))),
    )
)
# A browser that keeps to this asks for nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_STYLE = """
body {font: 16px/1.5 system-ui, sans-serif; color: #1d2b3e; background: #fff; margin: 0 auto;
  padding: 0 1rem 3rem; max-width: 1100px}
h1 {font-size: 1.6rem; overflow-wrap: anywhere} h2 {font-size: 1.25rem; margin-top: 2.2rem;
  border-bottom: 1px solid #d5dce6} h3 {font-size: 1rem; margin: 1.4rem 0 .4rem}
p {overflow-wrap: anywhere} .small {color: #4a5a70; font-size: .9rem}
.wide {overflow-x: auto} table {border-collapse: collapse; font-size: .9rem}
th, td {text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0;
  border-bottom: 1px solid #e6ebf2; overflow-wrap: anywhere} td.number {text-align: right;
  font-variant-numeric: tabular-nums} th.number {text-align: right}
.number {white-space: nowrap}
.row {display: grid; gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr))}
.plots {display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(290px, 1fr))}
figure {margin: 0} figcaption {font-size: .85rem; color: #4a5a70} img {width: 100%; height: auto;
  display: block; image-rendering: pixelated} img[hidden] {display: none}
.slider {position: sticky; top: 0; background: #fff; padding: .5rem 0; z-index: 1}
.slider input {width: min(24rem, 100%); vertical-align: middle}
"""
# One slider for all pictures: each shows its frame of that number, or its last.
_SCRIPT = """
document.querySelectorAll('.slider input').forEach(range => {
  const said = range.parentNode.querySelector('output');
  range.oninput = () => {
    said.textContent = range.value;
    document.querySelectorAll('.frames').forEach(box => {
      const frames = box.querySelectorAll('img');
      const shown = Math.min(range.value, frames.length - 1);
      frames.forEach((frame, k) => { frame.hidden = k != shown; });
    });
  };
});
"""


def page(title: str, sections: Mapping[str, str]) -> str:
    """Returns the text of a page.

    Args:
      title: plain words.
      sections: heading, plain words → HTML, as the functions below return it.
    """
    parts = [f"<h2>{html.escape(heading)}</h2>\n{body}" for heading, body in sections.items()]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f"<h1>{html.escape(title)}</h1>",
            *parts,
            f"<script>{_SCRIPT}</script>\n</body>\n</html>\n",
        ]
    )


def words(text: str, is_small: bool = False) -> str:
    """Returns a paragraph of plain words."""
    return f"<p{_small(is_small)}>{html.escape(text)}</p>\n"


def heading(text: str) -> str:
    """Returns a heading within a section."""
    return f"<h3>{html.escape(text)}</h3>\n"


def table(rows: Sequence[Sequence[object]], titles: Sequence[str] = ()) -> str:
    """Returns a table; numbers have four digits and stand to the right, None is a dash.

    Args:
      rows: cells of plain words or numbers.
      titles: of the columns; none: no such row.
    """
    cells = ["<tr>" + "".join(_cell(x) for x in row) + "</tr>" for row in rows]
    if titles:
        columns = zip(titles, rows[0] if rows else titles, strict=True)
        found = (f"<th{_number(x)}>{html.escape(title)}</th>" for title, x in columns)
        cells.insert(0, "<tr>" + "".join(found) + "</tr>")
    return '<div class="wide"><table>\n' + "\n".join(cells) + "\n</table></div>\n"


def picture(pixels: np.ndarray | Image.Image, caption: str) -> str:
    """Returns a picture [H, W, 3] uint8, as PNG, with its caption, which screen readers say too."""
    source = _png(pixels)
    said = html.escape(caption)
    return f'<figure><img src="{source}" alt="{said}"><figcaption>{said}</figcaption></figure>\n'


def frames(pictures: Sequence[np.ndarray], caption: str) -> str:
    """Returns pictures of which `slider` shows one at a time; without scripts the first."""
    said = html.escape(caption)
    shown = [
        f'<img src="{_png(x)}" alt="{said}, {k}"{" hidden" if k else ""}>'
        for k, x in enumerate(pictures)
    ]
    return (
        f'<figure><div class="frames">{"".join(shown)}</div><figcaption>{said}</figcaption>'
        "</figure>\n"
    )


def slider(label: str, last: int) -> str:
    """Returns a slider from 0 to last, which chooses the frame of all `frames` on the page."""
    return (
        f'<div class="slider"><label>{html.escape(label)} <output>0</output> '
        f'<input type="range" min="0" max="{last}" value="0" step="1"></label></div>\n'
    )


def plot(figure: Figure, caption: str) -> str:
    """Returns a figure of Matplotlib as SVG, with its caption."""
    file = io.BytesIO()
    # One salt and no date: the same figure gives the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "rpe_tf", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    source = "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
    said = html.escape(caption)
    return f'<figure><img src="{source}" alt="{said}"><figcaption>{said}</figcaption></figure>\n'


def row(parts: Sequence[str], is_plots: bool = False) -> str:
    """Returns parts beside each other, or one below the other where there is no room."""
    return f'<div class="{"plots" if is_plots else "row"}">\n{"".join(parts)}</div>\n'


def _small(is_small: bool) -> str:
    return ' class="small"' if is_small else ""


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN is not itself.
        said = "–"
    elif isinstance(value, float):
        said = f"{value:.4g}"
    else:
        said = html.escape(str(value))
    return f"<td{_number(value)}>{said}</td>"


def _number(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return ' class="number"' if is_number or value is None else ""


def _png(pixels: np.ndarray | Image.Image) -> str:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
