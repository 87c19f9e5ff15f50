"""Documents → trajectories. Running the same command again resumes it.

python -m autodata.generate recipes/demo/generate.yaml [key=value …]
"""

import asyncio
import json
import logging
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from autodata import store
from autodata.config import RecipeError, load
from autodata.corpora.files import Corpus, DocumentsError, read_corpus
from autodata.cot_self_instruct import propose_once
from autodata.domains import base
from autodata.journal import Journal, JournalError
from autodata.llm import Client, Draining, EndpointError
from autodata.orchestrator import Harness, JudgeFailed, orchestrate
from autodata.progress import Progress
from autodata.prompts import PromptError
from autodata.recipes import GenerateRecipe
from autodata.servers import RunningServer, ServerError, running, watch
from autodata.store import Run, RunError
from autodata.summary import describe, summarize
from autodata.types import TRAJECTORY, Document, Role, Trajectory

ARMS = {"agentic": orchestrate, "cot": propose_once}
TRAJECTORIES, ERRORS = "trajectories.jsonl", "errors.jsonl"


class TooManyErrors(RuntimeError):
    """More documents failed than the recipe allows."""


PROBLEMS = (RecipeError, RunError, DocumentsError, JournalError, ServerError, EndpointError, PromptError,
            TooManyErrors)  # fmt: skip


class Generation:
    """The documents of one run on their way through the loop."""

    def __init__(self, run: Run, recipe: GenerateRecipe, client: Client, documents: Sequence[Document]):
        self.run = run
        self.recipe = recipe
        self.client = client
        self.domain = base.load(recipe.domain, client, recipe.seed)
        self.trajectories = store.read_records(run.path(TRAJECTORIES), TRAJECTORY)
        done = {t.document_id for t in self.trajectories}
        self.pending = [d for d in documents if d.id not in done]
        self.total = len(documents)
        self.failures: dict[str, str] = {}
        self._too_many: TooManyErrors | None = None
        self._earlier = _count_errors(run)
        self._slots = asyncio.Semaphore(recipe.documents_in_flight)

    async def finish_all(self, progress: Progress) -> None:
        """Every pending document, many at once. Raises TooManyErrors, JournalError, RunError."""
        try:
            async with asyncio.TaskGroup() as group:
                for document in self.pending:
                    group.create_task(self._finish(document, progress))
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        if self._too_many:
            raise self._too_many

    async def _finish(self, document: Document, progress: Progress) -> None:
        async with self._slots:
            if self.client.draining:
                return
            try:
                trajectory = await self._generate(document)
            except Draining:
                return
            except (EndpointError, JudgeFailed) as error:
                self._record_failure(document, error)
                return
        self.run.append(TRAJECTORIES, TRAJECTORY.dump_json(trajectory))
        self.trajectories.append(trajectory)
        progress.update(self.trajectories, self.client)

    async def _generate(self, document: Document) -> Trajectory:
        earlier = self._earlier[document.id]
        harness = Harness(self.domain, document, self.recipe.arm, earlier)
        return await ARMS[self.recipe.arm](harness)

    def _record_failure(self, document: Document, error: Exception) -> None:
        kind = type(error).__name__
        record = {
            "document_id": document.id,
            "source": document.source,
            "kind": kind,
            "error": str(error),
        }
        self.run.append(ERRORS, json.dumps(record).encode())
        self.failures[document.id] = str(error)
        if len(self.failures) > self.recipe.max_error_rate * self.total:
            # Stop as Ctrl-C does, so that what is under way is answered and kept.
            self.client.draining = True
            self._too_many = TooManyErrors(
                f"{len(self.failures)} of {self.total} documents failed, more than "
                f"max_error_rate={self.recipe.max_error_rate} allows; the last: {error}\n"
                "what was answered is kept: repair the cause and run the same command again"
            )


def _count_errors(run: Run) -> Counter[str]:
    path = run.path(ERRORS)
    store.repair_tail(path)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    records = [json.loads(line) for line in lines]
    return Counter(r["document_id"] for r in records if r["kind"] == JudgeFailed.__name__)


async def _run_with_servers(generation: Generation, servers: list[RunningServer], progress: Progress) -> None:
    """The work, ended early by a dead server."""
    work = asyncio.create_task(generation.finish_all(progress))
    guard = asyncio.create_task(watch(servers))
    _drain_on_signal(generation.client, work)
    try:
        done, _ = await asyncio.wait({work, guard}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (work, guard):
            task.cancel()
        await asyncio.gather(work, guard, return_exceptions=True)
        await generation.client.close()


def _drain_on_signal(client: Client, work: asyncio.Task[None]) -> None:
    def stop() -> None:
        if client.draining:
            work.cancel()
            return
        client.draining = True
        print(
            "\nstopping: calls under way are finished and kept (again: stop at once)",
            file=sys.stderr,
        )

    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop)


def generate(recipe: GenerateRecipe, run: Run, corpus: Corpus) -> bool:
    """Run the recipe in its folder; True when every document has its trajectory."""
    run.start()
    store.repair_tail(run.path(TRAJECTORIES))
    journal_path = run.path("journal.sqlite") if recipe.journal is None else Path(recipe.journal)
    if recipe.fork:
        store.fork(recipe.fork, journal_path)
    journal = Journal(journal_path)
    client = Client(recipe.models, journal)
    start = time.monotonic()
    try:
        generation = Generation(run, recipe, client, corpus.documents)
        with (
            running(recipe.models, Role, run.folder) as servers,
            Progress(run, generation.total) as progress,
        ):
            working = time.monotonic()
            asyncio.run(_run_with_servers(generation, servers, progress))
            facts = _measure(client, time.monotonic() - working, time.monotonic() - start)
    finally:
        journal.close()
    is_complete = len(generation.trajectories) == generation.total
    _report(run, generation, corpus, facts, is_complete)
    return is_complete


def _measure(client: Client, working_s: float, total_s: float) -> dict[str, object]:
    return {
        "counts": dict(client.counts),
        "working_s": round(working_s, 1),
        "total_s": round(total_s, 1),
        "server_busy_share": round(client.busy_s / total_s, 3),
    }


def _report(run: Run, generation: Generation, corpus: Corpus, facts: dict[str, object], is_complete: bool) -> None:
    facts |= {"summary": summarize(generation.trajectories), "arm": generation.recipe.arm,
              "models": _models(generation.recipe),
              "skipped_files": [f"{where}: {why}" for where, why in corpus.skipped]}  # fmt: skip
    if is_complete:
        run.finish([TRAJECTORIES], **facts)
    else:
        run.note(**facts)
    print(describe(facts))
    for document, error in list(generation.failures.items())[:5]:
        print(f"failed: {document}: {error}", file=sys.stderr)


def _models(recipe: GenerateRecipe) -> dict[str, str]:
    roles = {name: role for name, role in vars(recipe.models).items() if name != "endpoints" and role}
    return {name: recipe.models.endpoints[role.endpoint].model for name, role in roles.items()}


def _open(recipe: GenerateRecipe) -> tuple[Run, Corpus]:
    if recipe.arm not in ARMS:
        raise RecipeError(f"arm={recipe.arm}: choose {' or '.join(ARMS)}")
    if recipe.domain.preset not in recipe.domain.presets:
        raise RecipeError(f"domain.preset={recipe.domain.preset}: choose one of {', '.join(recipe.domain.presets)}")
    store.identify_weights(recipe.models)
    corpus = read_corpus(recipe.documents.path, recipe.documents.limit)
    for where, why in corpus.skipped:
        print(f"skipped {where}: {why}", file=sys.stderr)
    text = json.dumps([[d.id, d.text] for d in corpus.documents])
    prompts = store.hash_path(base.prompt_folder(recipe.domain))
    artefacts = {"corpus": store.digest(text.encode()), "prompts": prompts}
    return Run(recipe.run, "generate", recipe, artefacts), corpus


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        recipe = load(GenerateRecipe, sys.argv[1:])
        run, corpus = _open(recipe)
        with run:
            if run.is_finished:
                print(f"{run.folder}: up to date")
            elif not generate(recipe, run, corpus):
                raise SystemExit(f"{run.folder}: not complete; run the same command again to go on")
    except PROBLEMS as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
