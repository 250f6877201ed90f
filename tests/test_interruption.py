"""SIGTERM is noted while training, and only then."""

import os
import signal
import subprocess
import sys

from rpe_tf.interruption import StopSignal


def test_stop_signal_notes_sigterm_and_gives_it_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as is_stopping:
        assert not is_stopping()
        os.kill(os.getpid(), signal.SIGTERM)
        assert is_stopping()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_sigterm_ends_the_process():
    program = (
        "import os, signal\n"
        "from rpe_tf.interruption import StopSignal\n"
        "with StopSignal() as is_stopping:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print(is_stopping(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still there', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "True\n")
