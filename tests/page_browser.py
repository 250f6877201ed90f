"""The page of `export.demo_main` in a process, and a headless Chromium that looks at it."""

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import sys

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 60


def missing():
    """What there is not of all that is needed, a name each."""
    found = [x for x in ("gradio", "playwright") if importlib.util.find_spec(x) is None]
    return found if find_browser() else [*found, "chromium"]


def find_browser():
    """Path of a Chromium of this machine; None without one."""
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def page_process(model, *flags):
    """Yields the address of a page once it listens."""
    port = free_port()
    command = [sys.executable, "-m", "export.demo_main", f"--model={model}", f"--port={port}"]
    process = subprocess.Popen(
        [*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        log = []
        for line in process.stdout:
            log.append(line)
            if "the page is at" in line:
                break
        else:
            raise AssertionError("the page did not start: " + "".join(log))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def browser_tab(address, width=1280, height=1100):
    """Yields a Playwright page that shows an address, and the addresses asked of elsewhere.

    Nothing outside this machine is reached.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        context = browser.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(1000 * _SECONDS)
        strangers = []

        def is_outside(url):
            return not url.startswith((address, "data:", "blob:", "file:"))

        def refuse(route):
            strangers.append(route.request.url)
            route.abort()

        context.route(is_outside, refuse)
        tab = context.new_page()
        tab.goto(address)
        tab.locator("#concentration").wait_for()
        yield tab, strangers
        browser.close()


def drop(tab, path):
    """Gives the page a picture file, in place of the one it has, if any.

    What the page said of the one before is gone then: words waited for are of this one.
    """
    if not tab.locator("input[type=file]").count():
        tab.get_by_label("Clear").first.click()
    wait_for_words(tab, "No picture yet.")
    tab.set_input_files("input[type=file]", path)


def wait_for_words(tab, words):
    """What the status says, once it has these words."""
    status = tab.locator("#status")
    status.get_by_text(words).wait_for()
    return status.inner_text()
