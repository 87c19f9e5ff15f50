"""Commands as their users start them: each in a process of its own, one by one or all at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor


def run(module: str, *arguments: str) -> str:
    """What the command printed; it must end well."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def run_at_once(*commands: tuple[str, ...]) -> list[str]:
    """What each printed. A server answers several calls in little more time than one."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda command: run(*command), commands))
