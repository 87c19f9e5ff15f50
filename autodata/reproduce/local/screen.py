"""Shows which step runs: one line that renews itself in a terminal, a line at each start and end elsewhere."""

import sys
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autodata.run.snapshot import FILE, Snapshot, read_snapshot
from autodata.stats.writing import write_duration

_BAR = 20  # columns
_CLOCKS_DIFFER_S = 2.0  # a file system may round times


class Screen(AbstractContextManager["Screen"]):
    """Shows the steps of a graph one after the other."""

    def __init__(self, steps: int):
        self._steps, self._opened = steps, ExitStack()
        self._number, self._name, self._folder = 0, "", Path()
        self._begun, self._note = time.time(), ""
        console = Console()
        is_live = sys.stdout.isatty() and not console.is_dumb_terminal
        self._live = Live(get_renderable=self._draw, console=console, transient=True) if is_live else None

    def __enter__(self) -> "Screen":
        if self._live:
            self._opened.enter_context(self._live)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def begin(self, number: int, name: str, folder: Path) -> None:
        """Show that a step begins. `folder` is where its run, if it makes one, writes its progress."""
        self._number, self._name, self._folder = number, name, folder
        self._begun, self._note = time.time(), ""
        if not self._live:
            print(f"step {self._place}: {name}", flush=True)

    def note(self, text: str) -> None:
        """Show what the step waits for, in place of its progress."""
        self._note = text
        if text and not self._live:
            print(f"step {self._place}: {text}", flush=True)

    def end(self) -> None:
        """Show that the step is done."""
        if not self._live:
            print(f"step {self._place}: done in {write_duration(time.time() - self._begun)}", flush=True)

    @property
    def _place(self) -> str:
        return f"{self._number} of {self._steps}"

    def _draw(self) -> Table:
        row = Table.grid(padding=(0, 1))
        snapshot = None if self._note else self._read()
        bar = [_draw_bar(snapshot)] if snapshot and snapshot.total else []
        words = describe_progress(snapshot) if snapshot else self._note or "starting"
        for ratio in (None, 1, *(None for _ in bar), None):  # a long name is cut, not the numbers
            row.add_column(no_wrap=True, overflow="ellipsis", ratio=ratio)
        row.add_row(Text(f"step {self._place}"), Text(self._name), *bar, Text(words))
        return row

    def _read(self) -> Snapshot | None:
        """Read the progress of the step; None if what is there is of an earlier session."""
        path = self._folder / FILE
        is_new = path.exists() and path.stat().st_mtime > self._begun - _CLOCKS_DIFFER_S
        return read_snapshot(self._folder) if is_new else None


def _draw_bar(snapshot: Snapshot) -> ProgressBar:
    return ProgressBar(snapshot.total, min(snapshot.done, snapshot.total), width=_BAR)


def describe_progress(snapshot: Snapshot) -> str:
    """Write how much is done, how fast it goes and how long the rest takes."""
    total = f"/{snapshot.total:,}" if snapshot.total else ""
    rate = snapshot.rates.get("done_per_s", 0.0)
    parts = [f"{snapshot.done:,}{total} {snapshot.unit}"] if snapshot.total or snapshot.done else [str(snapshot.state)]
    parts += [f"{snapshot.accepted:,} accepted"] if snapshot.accepted else []
    parts += [_write_rate(rate)] if rate else []
    parts += [f"{write_duration(snapshot.eta_s)} left"] if snapshot.eta_s else []
    return ", ".join(parts)


def _write_rate(per_second: float) -> str:
    return f"{per_second:.1f}/s" if per_second >= 1 else f"{60 * per_second:.1f}/min"
