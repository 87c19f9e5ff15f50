"""Samples of an evaluation, counted as inspect_ai finishes them."""

from typing import ClassVar

from inspect_ai.hooks import Hooks, SampleEnd, hooks

from autodata.run.progress import Progress


@hooks("autodata_progress", "counts finished samples in the run's progress.json")
class SampleCount(Hooks):
    """Made once, by inspect_ai; the run that is counted is set before each evaluation."""

    progress: ClassVar[Progress | None] = None

    async def on_sample_end(self, data: SampleEnd) -> None:
        if self.progress:
            self.progress.advance()
