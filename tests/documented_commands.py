"""The commands that README.md, docs/ and recipes show, and whether they take the flags they show.

As a program (`python -m tests.documented_commands < commands.json`): each command of a JSON list
has its flags parsed by the program itself, `--only_check_args`, in a fork of one process that has
TensorFlow loaded. Writes [exit code, what was said] for each to stdout.
"""

import json
import os
import pathlib
import re
import runpy
import shlex
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
_FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(python[^`]+)`")


def pages() -> list[pathlib.Path]:
    """Returns README.md, the pages of docs/ and the recipes."""
    folders = (ROOT / "docs").rglob("*.md"), (ROOT / "rpe_tf" / "recipes").glob("*.flags")
    return [ROOT / "README.md", *sorted(path for paths in folders for path in paths)]


def commands_of(text: str) -> list[list[str]]:
    """Returns the words of the Python commands in code of a page, or in comments of a recipe."""
    if text.startswith("# "):
        text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
    blocks = _FENCED.findall(text) or [text]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    starts = ("python -m ", "python train_main.py ")
    found = [line.strip() for line in lines if line.strip().startswith(starts)]
    found += [" ".join(inline.split()) for inline in _INLINE.findall(_FENCED.sub("", text))]
    return [shlex.split(line, comments=True) for line in found if line.startswith(starts)]


def check(command: list[str]) -> None:
    """Runs a command up to where its flags are parsed, and exits as it does."""
    is_module = command[1] == "-m"
    arguments = command[3 if is_module else 2 :]
    sys.argv = [command[2] if is_module else command[1], *arguments, "--only_check_args"]
    if is_module:
        runpy.run_module(command[2], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(command[1], run_name="__main__")


def check_in_fork(command: list[str]) -> tuple[int, str]:
    """Returns the exit code of a command whose flags are parsed, and the end of what it said."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            code = 1
            try:
                check(command)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException as error:  # told to the parent, whatever it is
                print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read()[-600:]


def main() -> None:
    """Checks the commands on stdin."""
    import tensorflow  # noqa: F401  (the slow part, once for all)

    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    print(json.dumps([check_in_fork(command) for command in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()
