"""Of what types a dataset's questions are, by an annotator (paper's Table 11). The same command again resumes.

python -m eval.question_types recipes/science/question_types.yaml [key=value …]
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from autodata import command
from autodata.config import RecipeError, load
from autodata.data.examples import EXAMPLES
from autodata.loop.agents import Agents, attempt_seed, gather_all, make_object
from autodata.loop.parsing import ParseError
from autodata.loop.prompts import PromptSet
from autodata.recipes.evaluation import QuestionTypesRecipe
from autodata.run.folder import Run, output_hash
from autodata.run.records import RunError, read_records
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.request import Request
from autodata.serving.vllm import running
from autodata.types import EXAMPLE, Example, Role

# The paper's types and their subtypes.
TYPES = {
    "reasoning": ("symbolic derivation", "combinatorial", "probabilistic", "spectral", "asymptotic", "proof"),
    "mixed": ("physical modelling", "algorithmic", "data-driven"),
    "knowledge": ("direct formula", "recall"),
}
LABELS, RESULTS = "labels.json", "results.json"
_OF = {subtype: type for type, subtypes in TYPES.items() for subtype in subtypes}
_SCHEMA = make_object({"reason": {"type": "string"}, "subtype": {"type": "string", "enum": list(_OF)}})
_MADE_BY = "python -m autodata.dataset"


class Label(NamedTuple):
    """What the annotator said of a question; `problem` says why there is no subtype."""

    subtype: str | None
    problem: str = ""


def choose(recipe: QuestionTypesRecipe) -> list[Example]:
    """A random sample of the arm's examples. Raises RunError when the arm has none."""
    examples = [e for e in read_records(Path(recipe.dataset) / EXAMPLES, EXAMPLE) if e.arm == recipe.arm]
    if not examples:
        raise RunError(f"{recipe.dataset}: no examples of arm={recipe.arm}")
    random.Random(recipe.seed).shuffle(examples)
    return examples[: recipe.examples]


async def annotate(examples: Sequence[Example], client: Client, seed: int, asks: int) -> dict[str, Label]:
    """The subtype of each question, or why no reply could be read."""
    prompts = PromptSet(Path(__file__).parent / "prompts")
    agents = Agents(client, prompts)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("questions", total=len(examples))

        async def label(example: Example) -> Label:
            slots = {
                "question": example.candidate.question,
                "answer": example.candidate.reference_answer,
                "types": TYPES,
            }
            own = attempt_seed(seed, example.id, 0, Role.JUDGE, 0)
            request = Request(Role.JUDGE, prompts.render("question_type", slots), own, schema=_SCHEMA)
            try:
                return Label(await agents.ask_until_read(request, read_subtype, asks))
            except ParseError as error:
                return Label(None, str(error))
            finally:
                progress.advance(bar)

        found = await gather_all([label(example) for example in examples])
    await client.close()
    return dict(zip([e.id for e in examples], found, strict=True))


def read_subtype(record: Mapping[str, object]) -> str:
    """Raises ParseError for a subtype that is none."""
    subtype = record.get("subtype")
    if not isinstance(subtype, str) or subtype not in _OF:
        raise ParseError(f"subtype is {subtype!r}")
    return subtype


def count(labels: Sequence[str | None]) -> dict[str, object]:
    """How many of each type and subtype; questions without a readable label are counted apart."""
    known = [label for label in labels if label]
    subtypes = Counter(known)
    return {
        "labelled": len(known),
        "unlabelled": len(labels) - len(known),
        "types": {type: sum(subtypes[s] for s in of) for type, of in TYPES.items()},
        "subtypes": {subtype: subtypes[subtype] for subtype in _OF},
    }


def run_recipe(recipe: QuestionTypesRecipe, run: Run) -> dict[str, object]:
    """The counts, which are also written to the run folder with every label."""
    examples = choose(recipe)
    run.start()
    journal = Journal(run.path("journal.sqlite"))
    try:
        with running(recipe.models, [Role.JUDGE], run.folder):
            client, asks = Client(recipe.models, journal), recipe.domain.judge_retries + 1
            found = asyncio.run(annotate(examples, client, recipe.seed, asks))
    finally:
        journal.close()
    labels = {id: label.subtype for id, label in found.items()}
    lost = [label.problem for label in found.values() if label.problem]
    if len(lost) > recipe.max_failures * len(found):
        raise RunError(f"{len(lost)} of {len(found)} questions have no readable label, more than max_failures="
                       f"{recipe.max_failures:g} allows: {lost[0]}; run the same command again: what was read is kept"
                       )  # fmt: skip
    results = count(list(labels.values()))
    for name, content in ((LABELS, labels), (RESULTS, results)):
        run.write(name, json.dumps(content, indent=2) + "\n")
    run.finish([LABELS, RESULTS])
    return results


@command.report_errors()
def main() -> None:
    recipe = load(QuestionTypesRecipe, command.read_recipe(__doc__))
    if recipe.models.judge is None:
        raise RecipeError("models.judge: name the endpoint of the annotator")
    read = {"dataset": output_hash(recipe.dataset, _MADE_BY)}
    repairs = ["models.judge.sampling.max_tokens", "domain.judge_retries"]
    with Run(recipe.run, "question_types", recipe, read, repairs) as run:
        if run.is_finished:
            print(f"{run.folder}: up to date")
            return
        print(json.dumps(run_recipe(recipe, run), indent=2))


if __name__ == "__main__":
    main()
