"""A training that is asked to end, as clusters do before they take a machine away."""

import signal
from types import FrameType, TracebackType

# EX_TEMPFAIL of sysexits.h: come again later. Schedulers that requeue take any code but 0.
EXIT_CODE = 75


class StopSignal:
    """Notes SIGTERM while it is entered: calling it tells whether one has come.

    A second one ends the process at once, as without this.
    """

    def __init__(self) -> None:
        """Starts without a request."""
        self._is_asked = False
        self._before = None

    def __call__(self) -> bool:
        """Returns whether the process was asked to end."""
        return self._is_asked

    def __enter__(self) -> "StopSignal":
        """Takes SIGTERM over."""
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives SIGTERM back."""
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_asked = True
        signal.signal(number, self._before)
