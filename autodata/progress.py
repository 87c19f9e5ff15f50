"""How far a run is: a bar for people, status.json for programs."""

import json
import sys
import time
from types import TracebackType

from rich import progress as bars

from autodata.llm import Client
from autodata.store import Run

_LINE_EVERY_S = 15  # where there is no terminal to draw a bar in


class Progress:
    """Documents per second, calls, tokens, acceptance, time left."""

    def __init__(self, run: Run, total: int):
        self._run = run
        self._total = total
        self._start = self._last_line = time.monotonic()
        self._first: int | None = None
        self._bar = bars.Progress(
            bars.TextColumn("documents"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[detail]}"),
            bars.TimeElapsedColumn(),
            bars.TimeRemainingColumn(),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("documents", total=total, detail="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, done: int, accepted: int, client: Client) -> None:
        """Show that one more document is finished."""
        elapsed = time.monotonic() - self._start
        if self._first is None:
            self._first = done - 1  # from an earlier session: not part of the rate
        rate = (done - self._first) / elapsed if elapsed else 0.0
        status = {
            "documents": done,
            "total": self._total,
            "accepted": accepted,
            "documents_per_s": round(rate, 3),
            "eta_s": round((self._total - done) / rate) if rate else None,
            "calls": client.counts["calls"],
            "replayed": client.counts["replayed"],
            "tokens": client.counts["prompt_tokens"] + client.counts["completion_tokens"],
        }
        self._run.write("status.json", json.dumps(status) + "\n")
        self._bar.update(self._task, completed=done, detail=_detail(status))
        if self._bar.disable and (done == self._total or time.monotonic() - self._last_line > _LINE_EVERY_S):
            self._last_line = time.monotonic()
            print(
                f"{done}/{self._total} documents, {_detail(status)}, {status['eta_s']} s left",
                flush=True,
            )


def _detail(status: dict[str, int | float | None]) -> str:
    return (f"{status['accepted']} accepted, {status['documents_per_s']} documents/s, "
            f"{status['calls']} calls, {status['replayed']} replayed, {status['tokens']} tokens")  # fmt: skip
