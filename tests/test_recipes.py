"""Every recipe gives settings that the program takes, and says how to run it."""

import pathlib

import pytest
from absl import flags

import train_main
from rpe_tf.tasks import TASKS

_ROOT = pathlib.Path(__file__).parents[1]
_RECIPES = sorted((_ROOT / "rpe_tf" / "recipes").glob("*.flags"))


@pytest.fixture
def parsed():
    """A function from command-line arguments to the settings of a training."""
    given = flags.FLAGS.flag_values_dict()

    def settings(*arguments):
        flags.FLAGS.unparse_flags()
        flags.FLAGS(["train_main.py", *arguments])
        return train_main.settings_from_flags(num_classes=3)

    yield settings
    flags.FLAGS.unparse_flags()
    for name, value in given.items():
        if flags.FLAGS[name].value != value:
            flags.FLAGS[name].value = value
    flags.FLAGS.mark_as_parsed()


@pytest.mark.parametrize("path", _RECIPES, ids=[path.stem for path in _RECIPES])
def test_recipe_gives_settings_and_its_command(path, parsed):
    settings = parsed(f"--flagfile={path}", "--run_dir=runs/a", "--train_shards=a-*")
    assert settings["task"] in TASKS
    assert settings["training"]["num_steps"] > 100
    text = path.read_text()
    assert text.startswith("# ")
    assert f"--flagfile=rpe_tf/recipes/{path.name}" in text or "`make demo`" in text
