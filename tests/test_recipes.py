"""Every recipe gives settings that the program takes, and says how to run it."""

import json
import pathlib
import subprocess
import sys

import pytest

from rpe_tf.tasks import TASKS

_ROOT = pathlib.Path(__file__).parents[1]
_RECIPES = sorted((_ROOT / "rpe_tf" / "recipes").glob("*.flags"))
# Prints the settings of each flag file, in a process of its own: flags are defined once a process.
_SETTINGS = """
import json, sys
from absl import flags
import train_main
train_main.shards.num_classes = lambda paths: 3
for path in sys.argv[1:]:
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS(["train_main.py", f"--flagfile={path}", "--run_dir=a", "--train_shards=a-*"])
    print(json.dumps(train_main.settings_from_flags([])))
"""


@pytest.fixture(scope="module")
def settings():
    """Settings of a training by the name of its recipe."""
    command = [sys.executable, "-c", _SETTINGS, *map(str, _RECIPES)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return dict(zip([path.name for path in _RECIPES], rows, strict=True))


def test_recipes_differ_in_task_and_model(settings):
    assert {one["task"] for one in settings.values()} == set(TASKS)
    # Nothing is left over from the recipe before.
    assert settings["voc44_instances.flags"]["data"]["augmentation"] is None
    assert settings["voc_instances.flags"]["data"]["augmentation"]


@pytest.mark.parametrize("path", _RECIPES, ids=[path.stem for path in _RECIPES])
def test_recipe_says_how_to_run_it(path, settings):
    assert settings[path.name]["training"]["num_steps"] > 100
    text = path.read_text()
    assert text.startswith("# ")
    assert f"--flagfile=rpe_tf/recipes/{path.name}" in text or "`make demo`" in text
