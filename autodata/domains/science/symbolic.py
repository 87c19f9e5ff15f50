"""Symbolic equality of two formulas, decided in a process that hostile input can only harm itself.

Algebra on a model's text can need any amount of time and memory (9^{9^{9^9}}). One worker process is kept
with the libraries loaded; it forks for every comparison, and the kernel ends a fork that uses too much.
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

CPU_SECONDS = 2  # of one comparison; CPU time, so that the outcome does not depend on what else runs
WALL_SECONDS = 60  # a backstop only
MEMORY_BYTES = 2 << 30
_EQUAL = 64  # exit status of a fork; nothing else exits so


class Checker:
    """Asks the worker, one comparison at a time; starts it when first needed and again when it died."""

    def __init__(self, cpu_seconds: int = CPU_SECONDS) -> None:
        self._cpu_seconds = cpu_seconds
        self._threads = ThreadPoolExecutor(1, "symbolic")
        self._worker: subprocess.Popen[str] | None = None

    async def is_equal(self, left: str, right: str) -> bool:
        """True: equal beyond doubt. False: different, undecided, or too much work to tell."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, left, right)

    def close(self) -> None:
        if self._worker:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None

    def _ask(self, left: str, right: str) -> bool:
        if self._worker is None or self._worker.poll() is not None:
            self.close()
            # By its file and with -P: it needs neither this package nor the folder of the command.
            command = [sys.executable, "-P", str(Path(__file__)), str(self._cpu_seconds)]
            self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, text=True)  # fmt: skip
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
    """Answer line for line until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which finishes what is under way
    logging.disable()
    for formula in (r"\frac{x^2}{2}", r"\{x, \sin y\}"):  # loads and builds once what all forks share
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
    """In the fork: limits whose default action is its death, then the comparison."""
    signal.alarm(WALL_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    is_equal = False
    try:
        is_equal = _compare(left, right)
    finally:  # whatever was raised, this process has nothing else to do
        os._exit(_EQUAL if is_equal else 0)


def _compare(left: str, right: str) -> bool:
    from math_verify import LatexExtractionConfig, parse, verify

    # LaTeX only: the reader of plain expressions evaluates them. Its own time limits need signals; ours replace them.
    parsed = [parse(f"${formula}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
              for formula in (left, right)]  # fmt: skip
    return all(parsed) and verify(*parsed, timeout_seconds=None)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
