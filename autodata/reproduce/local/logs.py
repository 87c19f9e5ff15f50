"""Keeps what the steps of a graph print, one log for each, and finds in it what a reader of the screen must know."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from autodata.run.folder import tell_time
from autodata.run.records import name_file_in_errors

FOLDER = "logs"
_SHOWN = 15  # lines of a step that failed
_WARNINGS = 3  # warnings of a step that went well
_MOST_BYTES = 1 << 20  # read from the end of a log
_ERROR, _WARNING = re.compile(r"error: "), re.compile(r"(WARNING autodata|warning: )")


@dataclass(frozen=True)
class Log:
    """What one step prints. Its earlier sessions stand above."""

    path: Path
    start: int = 0  # byte at which this session begins

    @classmethod
    def of(cls, folder: Path, number: int, name: str) -> "Log":
        """Name the log of a step: `03-dataset-dataset.log` is that of `dataset runs/demo/dataset`."""
        command, _, target = name.partition(" ")
        return cls(folder / FOLDER / f"{number:02}-{command}-{Path(target).stem}.log")

    @contextmanager
    def open(self, command: Sequence[str]) -> Iterator[tuple["Log", IO[bytes]]]:
        """Open the log for a new session, which begins with its time and its command. Raises RunError."""
        with name_file_in_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                log = Log(self.path, file.tell())
                file.write(f"== {tell_time()} {' '.join(command)}\n".encode())
                file.flush()
                yield log, file

    def list_warnings(self) -> list[str]:
        """List the first warnings of this project in the session; those of libraries stay in the log."""
        lines = dict.fromkeys(line for line in self._read() if _WARNING.match(line))
        return list(lines)[:_WARNINGS]

    def tell_end(self) -> str:
        """Return the lines that say why the session failed: the last error and what follows it, or the last lines."""
        lines = self._read()
        errors = [number for number, line in enumerate(lines) if _ERROR.match(line)]
        shown = lines[errors[-1] :][:_SHOWN] if errors else lines[-_SHOWN:]
        # A launcher adds the traceback of its own error, which says only that its command failed.
        end = next((n for n, line in enumerate(shown) if errors and line.startswith("Traceback (most")), None)
        return "\n".join(f"  {line}" for line in shown[:end])

    def _read(self) -> list[str]:
        """Read the session's lines without control characters, which would change the terminal."""
        with self.path.open("rb") as file:
            file.seek(max(self.start, self.path.stat().st_size - _MOST_BYTES))
            text = file.read().decode("utf-8", errors="replace")
        lines = ["".join(c for c in line if c.isprintable()).rstrip() for line in re.split(r"[\r\n]+", text)]
        return [line for line in lines[1:] if line]  # the first is the command
