"""Programs as a user starts them: processes of their own, since they may share names of flags."""

import pathlib
import subprocess
import sys

_ROOT = pathlib.Path(__file__).parents[2]


def run_all(module, *argument_lists):
    """Runs a program side by side; returns (exit code, stdout, stderr) of each."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in argument_lists
    ]
    outputs = [process.communicate(timeout=240) for process in processes]
    return [
        (process.returncode, *output) for process, output in zip(processes, outputs, strict=True)
    ]
