"""The page in a real browser: load, drop, slide, click, download, bad files, a narrow window."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.page_browser import browser_tab, drop, missing, page_process, wait_for_words

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"needs {', '.join(missing())}")

_NARROW_PX = 390


@pytest.fixture(scope="module")
def opened(exported):
    with page_process(exported.export_dir, "--max_pixels=10000") as address:
        with browser_tab(address) as (tab, strangers):
            yield tab, strangers


@pytest.fixture
def tab(opened):
    return opened[0]


@pytest.fixture
def picture_path(tmp_path, pictures):
    path = tmp_path / "cells.png"
    Image.fromarray(pictures[0]).save(path)
    return path


def _show(tab, path):
    drop(tab, path)
    wait_for_words(tab, "net and grouping")
    tab.locator("#instances img").wait_for()


def _slide(tab, name, value):
    box = tab.locator(f"#{name} input[type=number]")
    box.fill(str(value))
    box.press("Enter")


def test_a_picture_is_shown_and_nothing_is_asked_of_the_network(opened, picture_path):
    tab, strangers = opened
    _show(tab, picture_path)
    assert "70 × 45 pixels" in wait_for_words(tab, "cells")
    tab.locator("#embedding img").wait_for()
    assert strangers == []


def test_sliding_groups_anew_without_the_net(tab, picture_path, exported):
    _show(tab, picture_path)
    before = tab.locator("#instances img").get_attribute("src")
    _slide(tab, "min_area", 400)
    words = wait_for_words(tab, "grouped anew")
    tab.wait_for_function(
        "before => document.querySelector('#instances img').src != before", arg=before
    )
    assert "instances" in words
    _slide(tab, "min_area", 20)


def test_a_click_shows_similarity_and_path(tab, picture_path):
    _show(tab, picture_path)
    tab.locator("#instances img").click(position={"x": 100, "y": 60})
    tab.locator("#alike img").wait_for()
    tab.locator("#path img").wait_for()
    first = tab.locator("#alike img").get_attribute("src")
    tab.locator("#embedding img").click(position={"x": 200, "y": 90})
    tab.wait_for_function("first => document.querySelector('#alike img').src != first", arg=first)


def test_downloads_are_those_of_the_last_grouping(tab, picture_path, tmp_path):
    _show(tab, picture_path)
    _slide(tab, "min_area", 300)
    wait_for_words(tab, "grouped anew")
    tab.locator("#labels:enabled").wait_for()
    found = {}
    for name in ("labels", "table"):
        with tab.expect_download() as download:
            tab.locator(f"#{name}").click()
        found[name] = tmp_path / download.value.suggested_filename
        download.value.save_as(found[name])
    assert found["labels"].name.endswith("_instances.png")
    instance = np.asarray(Image.open(found["labels"]))
    assert instance.shape == (45, 70)
    areas = [record["area"] for record in json.loads(found["table"].read_text())]
    assert areas == np.bincount(instance.ravel())[1:].tolist() and min(areas) >= 300
    _slide(tab, "min_area", 20)


def test_bad_files_are_told_of_and_the_page_lives_on(tab, picture_path, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    Image.new("RGB", (101, 100)).save(tmp_path / "large.png")
    (tmp_path / "cut.png").write_bytes(picture_path.read_bytes()[:900])
    for name, words in [
        ("notes.txt", "cannot be read as a picture"),
        ("large.png", "more than the limit of 10,000"),
        ("cut.png", "truncated"),
    ]:
        drop(tab, tmp_path / name)
        told = wait_for_words(tab, words)
        assert name in told and str(tmp_path) not in told
        assert tab.locator("#instances img").count() == 0
        assert tab.locator("#labels").is_disabled()
    _show(tab, picture_path)


def test_a_narrow_window_needs_no_scrolling_sideways(tab, picture_path):
    _show(tab, picture_path)
    tab.set_viewport_size({"width": _NARROW_PX, "height": 844})
    tab.wait_for_timeout(500)
    assert tab.evaluate("document.documentElement.scrollWidth") <= _NARROW_PX
    box = tab.locator("#instances img").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= _NARROW_PX
