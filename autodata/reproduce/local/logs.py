"""Keeps what the steps of a graph print, one log for each, and finds in it what a reader of the screen must know."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from autodata.reproduce.record import Record
from autodata.run.folder import tell_time
from autodata.run.records import name_file_in_errors

FOLDER = "logs"
_SHOWN = 15  # lines of a step that failed
_WARNINGS = 3  # warnings of a step that went well
_MOST_BYTES = 1 << 20  # read from the end of a log
_FAILED = "== ended with exit code "
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
            file = self.path.open("ab")
            log = Log(self.path, file.tell())
            file.write(f"== {tell_time()} {' '.join(command)}\n".encode())
            file.flush()
        with file:  # errors of the step are not those of its log
            yield log, file

    def note_failure(self, code: int) -> None:
        """Note at the end of the log that the session failed. Raises RunError."""
        with name_file_in_errors(self.path), self.path.open("ab") as file:
            file.write(f"\n{_FAILED}{code}\n".encode())

    @property
    def has_failed(self) -> bool:
        """True if the last session failed; not if it was stopped."""
        lines = self._read() if self.path.exists() else []
        return bool(lines) and lines[-1].startswith(_FAILED)

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


def find_failed(record: Record, name: str) -> Path | None:
    """Find the log of a step whose last session on this machine failed; None if it did not."""
    log = Log.of(record.folder, list(record.steps).index(name) + 1, name)
    return log.path if log.has_failed else None
