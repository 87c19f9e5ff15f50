"""Turns the signals that Slurm sends to a job into exceptions, and ends processes step by step."""

import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress


class Requeue(Exception):
    """Raised on USR1: the time of this job is nearly over."""


class Cancelled(Exception):
    """Raised on TERM or INT."""


_SIGNALS = {signal.SIGUSR1: Requeue, signal.SIGTERM: Cancelled, signal.SIGINT: Cancelled}


def raise_signals() -> None:
    """Raise Requeue or Cancelled when their signals come."""
    _handle(_raise)


def ignore_signals() -> None:
    """Ignore further signals, because the job is ending."""
    _handle(signal.SIG_IGN)


def end_process(process: subprocess.Popen[bytes] | None, *steps: tuple[signal.Signals, float | None]) -> None:
    """Send a signal and wait so many seconds (None: without end), step by step, until the process has ended."""
    for signal_number, wait_s in steps if process else ():
        process.send_signal(signal_number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
            return


def _raise(number: int, _: object) -> None:
    raise _SIGNALS[signal.Signals(number)]


def _handle(handler: Callable[[int, object], None] | signal.Handlers) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)
