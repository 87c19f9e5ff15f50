"""Decides whether two formulas are equal, in a process of its own, so that hostile input harms nothing else.

Algebra on a model's text can need any amount of time and memory (9^{9^{9^9}}). One worker process keeps the libraries
loaded. It forks for every comparison, and the kernel ends a fork that uses too much.
"""

import asyncio
import atexit
import json
import logging
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CPU_SECONDS = 2  # per comparison; CPU time, so that the outcome does not depend on other processes
WALL_SECONDS = 60  # per comparison; only a safety net
MEMORY_BYTES = 2 << 30
_EQUAL = 64  # the exit status of a fork that found equality; nothing else exits with it


class Checker:
    """Asks the worker process, one comparison at a time. Starts it when first needed, and again if it died."""

    def __init__(self, cpu_seconds: int = CPU_SECONDS) -> None:
        self._cpu_seconds = cpu_seconds
        self._threads = ThreadPoolExecutor(1, "symbolic")
        self._worker: subprocess.Popen[str] | None = None

    async def is_equal(self, left: str, right: str) -> bool:
        """Return True if the formulas are certainly equal; False if different, undecided, or too much work."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, left, right)

    def close(self) -> None:
        """Kill the worker if it runs; the next comparison starts a new one."""
        if self._worker:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None

    def _ask(self, left: str, right: str) -> bool:
        if self._worker is None or self._worker.poll() is not None:
            self.close()
            # Run as a file and with -P, because it needs neither this package nor the current folder.
            command = [sys.executable, "-P", str(Path(__file__)), str(self._cpu_seconds)]
            pipe = subprocess.PIPE
            self._worker = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        assert self._worker.stdin and self._worker.stdout
        try:
            self._worker.stdin.write(json.dumps([left, right]) + "\n")
            self._worker.stdin.flush()
        except BrokenPipeError:
            return False
        return self._worker.stdout.readline() == "equal\n"


CHECKER = Checker()
atexit.register(CHECKER.close)


def _serve(cpu_seconds: int) -> None:
    """Compare the formulas of each line of stdin until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which finishes the comparisons in flight
    logging.disable()
    for formula in (r"\frac{x^2}{2}", r"\{x, \sin y\}"):  # load and build once what all forks share
        _compare(formula, formula)
        _compare(formula, "x^3/2")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _compare_and_exit(cpu_seconds, *json.loads(line))
        _, status = os.waitpid(child, 0)
        is_equal = os.WIFEXITED(status) and os.WEXITSTATUS(status) == _EQUAL
        print("equal" if is_equal else "unknown", flush=True)


def _compare_and_exit(cpu_seconds: int, left: str, right: str) -> None:
    """Compare inside a fork, under limits that kill the fork when it exceeds them."""
    signal.alarm(WALL_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    is_equal = False
    try:
        is_equal = _compare(left, right)
    finally:  # whatever was raised, the fork has nothing else to do
        os._exit(_EQUAL if is_equal else 0)


def _compare(left: str, right: str) -> bool:
    from math_verify import LatexExtractionConfig, parse, verify

    # Only LaTeX is read, because the parser of plain expressions evaluates them. The library's own time limits need
    # signals; the limits of the fork replace them.
    parsed = [
        parse(f"${formula}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
        for formula in (left, right)
    ]
    return all(parsed) and verify(*parsed, timeout_seconds=None)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
