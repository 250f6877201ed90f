"""What README, docs and recipes say can be done: links lead on, commands take their flags."""

import importlib.util
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.documented_commands import ROOT, commands_of, pages

# Stand for a choice in the text.
_PLACEHOLDERS = {"RUNTIME", "PRECISION"}


def _all_commands():
    found = {}
    for page in pages():
        for command in commands_of(page.read_text(encoding="utf-8")):
            is_mention = len(command) == 3 or "…" in command[2]
            is_choice = any(x.endswith(tuple(_PLACEHOLDERS)) for x in command)
            if not is_mention and not is_choice and command[2] != "pytest":
                found.setdefault(tuple(command), page.relative_to(ROOT))
    return found


def test_commands_of_reads_code_and_comments():
    page = "Do `python -m a.b\n--x=1`:\n```\npython -m c --y='p q' \\\n  --z\nmake demo\n```\n"
    assert commands_of(page) == [
        ["python", "-m", "c", "--y=p q", "--z"],
        ["python", "-m", "a.b", "--x=1"],
    ]
    recipe = "# What\n#   python train_main.py --a=1 \\\n#     --b\n--task=semantic\n"
    assert commands_of(recipe) == [["python", "train_main.py", "--a=1", "--b"]]


def test_every_command_takes_the_flags_it_is_shown_with():
    found = _all_commands()
    assert len(found) > 60
    done = subprocess.run(
        [sys.executable, "-m", "tests.documented_commands"],
        input=json.dumps([list(command) for command in found]),
        **{"capture_output": True, "text": True, "cwd": ROOT, "check": True},
    )
    outcomes = json.loads(done.stdout.splitlines()[-1])
    failed = [
        f"{page}: {' '.join(command)}\n{said}"
        for (command, page), (code, said) in zip(found.items(), outcomes, strict=True)
        # What compares with others needs them.
        if code and not ("No module named" in said and "tests.benchmarks" in command[2])
    ]
    assert not failed, "\n\n".join(failed)


def test_links_lead_somewhere():
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page}: {link}"


def test_pages_build_without_warnings(tmp_path):
    if importlib.util.find_spec("mkdocstrings") is None:
        pytest.skip("needs the extra [docs]")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={tmp_path}"]
    done = subprocess.run(
        [*command, "--config-file=.ci/mkdocs.yml"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "map_grouping_loss" in (tmp_path / "api" / "rpe_tf" / "index.html").read_text()


@pytest.mark.slow
def test_the_way_of_own_data_can_be_gone(tmp_path):
    """Every command of docs/own_data.md, as it stands there, but for a training of few steps."""
    generator = np.random.default_rng(0)
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    rows, columns = np.mgrid[:64, :80]
    for number in range(20):
        instance = np.zeros([64, 80], np.uint8)
        for count, (y, x) in enumerate([(20, 18), (40, 55)], start=1):
            y, x = (y, x) + generator.integers(-5, 6, 2)
            instance[(rows - y) ** 2 + (columns - x) ** 2 < 100] = count
        image = np.where(instance[..., np.newaxis] > 0, 200, 60) + generator.integers(
            0, 40, [64, 80, 3]
        )
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / "photos" / f"{number}.png")
        Image.fromarray(instance).save(tmp_path / "masks" / f"{number}.png")
    (block,) = re.findall(
        r"^```\n(.*?)^```", (ROOT / "docs" / "own_data.md").read_text(), re.M | re.S
    )
    for command in commands_of(f"```\n{block}```\n"):
        if command[1] == "train_main.py":
            command[1] = str(ROOT / "train_main.py")
            command += ["--num_steps=6", "--batch_size=2", "--width=8", "--crop_size=48,48"]
        done = subprocess.run(
            [sys.executable, *command[1:]],
            **{"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 600},
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-1000:]} {done.stderr[-2000:]}"
    assert len(list((tmp_path / "out").glob("*_instances.png"))) == 20
    assert (tmp_path / "models" / "mine" / "1" / "saved_model.pb").exists()
    assert (tmp_path / "sheet.png").exists()
