"""Sorts a dataset's questions into types with an annotator model (the paper's Table 11).

Running the same command again resumes it.

python -m autodata.eval.question_types recipes/science/question_types.yaml [key=value …]
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from autodata import command
from autodata.config import RecipeError, load
from autodata.data.examples import EXAMPLES
from autodata.loop.agents import Agents, attempt_seed, gather_all, make_object
from autodata.loop.parsing import ParseError
from autodata.loop.prompts import PromptSet
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.evaluation import QuestionTypesRecipe
from autodata.recipes.reading.kinds import COMMANDS
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
_SUBTYPES = [subtype for subtypes in TYPES.values() for subtype in subtypes]
_SCHEMA = make_object({"reason": {"type": "string"}, "subtype": {"type": "string", "enum": _SUBTYPES}})


def choose(recipe: QuestionTypesRecipe) -> list[Example]:
    """Draw a random sample of the arm's examples. Raises RecipeError if the arm has none."""
    examples = [e for e in read_records(Path(recipe.dataset) / EXAMPLES, EXAMPLE) if e.arm == recipe.arm]
    if not examples:
        raise RecipeError(f"{recipe.dataset}: no examples of arm={recipe.arm}; set another arm or dataset")
    random.Random(recipe.seed).shuffle(examples)
    return examples[: recipe.examples]


async def annotate(
    examples: Sequence[Example], client: Client, seed: int, asks: int
) -> dict[str, tuple[str | None, str]]:
    """Ask for the subtype of each question; None if no reply could be read, and then with the reason."""
    prompts = PromptSet(Path(__file__).parent / "prompts")
    agents = Agents(client, prompts)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("questions", total=len(examples))

        async def label(example: Example) -> tuple[str | None, str]:
            candidate = example.candidate
            slots = {"question": candidate.question, "answer": candidate.reference_answer, "types": TYPES}
            request_seed = attempt_seed(seed, example.id, 0, Role.JUDGE, 0)
            request = Request(Role.JUDGE, prompts.render("question_type", slots), request_seed, schema=_SCHEMA)
            try:
                return await agents.ask_until_read(request, read_subtype, asks), ""
            except ParseError as error:
                return None, str(error)
            finally:
                progress.advance(bar)

        labels = await gather_all([label(example) for example in examples])
    await client.close()
    return dict(zip([e.id for e in examples], labels, strict=True))


def read_subtype(record: Mapping[str, object]) -> str:
    """Read the subtype in a reply. Raises ParseError if the paper has no such subtype."""
    subtype = record.get("subtype")
    if not isinstance(subtype, str) or subtype not in _SUBTYPES:
        raise ParseError(f"{subtype!r} is not one of the subtypes")
    return subtype


def count(labels: Sequence[str | None]) -> dict[str, object]:
    """Count the questions of each type and subtype; those without a readable label are counted separately."""
    labelled = [label for label in labels if label]
    subtypes = Counter(labelled)
    return {
        "labelled": len(labelled),
        "unlabelled": len(labels) - len(labelled),
        "types": {type: sum(subtypes[s] for s in names) for type, names in TYPES.items()},
        "subtypes": {subtype: subtypes[subtype] for subtype in _SUBTYPES},
    }


def run_recipe(recipe: QuestionTypesRecipe, run: Run) -> dict[str, object]:
    """Label the questions and return the counts. Writes both to the run folder. Raises RunError."""
    examples = choose(recipe)
    run.start()
    with closing(Journal(run.path("journal.sqlite"))) as journal, running(recipe.models, [Role.JUDGE], run.folder):
        client, asks = Client(recipe.models, journal), recipe.domain.judge_retries + 1
        labels = asyncio.run(annotate(examples, client, recipe.seed, asks))
    subtypes = {id: subtype for id, (subtype, _) in labels.items()}
    problems = [problem for _, problem in labels.values() if problem]
    if len(problems) > recipe.max_failures * len(labels):
        raise RunError(
            f"{len(problems):,} of {len(labels):,} questions have no readable label, more than max_failures="
            f"{recipe.max_failures:g} allows; the first problem: {problems[0]}; labels that were read are kept, "
            "so run the same command again"
        )
    results = count(list(subtypes.values()))
    for name, content in ((LABELS, subtypes), (RESULTS, results)):
        run.write(name, json.dumps(content, indent=2) + "\n")
    run.finish([LABELS, RESULTS])
    return results


@command.report_errors()
def main() -> None:
    recipe = load(QuestionTypesRecipe, command.read_recipe(__doc__))
    if recipe.models.judge is None:
        raise RecipeError("models.judge.endpoint: name the endpoint that serves the annotator")
    inputs = {"dataset": output_hash(recipe.dataset, COMMANDS[DatasetRecipe])}
    repairs = ["models.judge.sampling.max_tokens", "domain.judge_retries"]
    with Run(recipe.run, "question_types", recipe, inputs, repairs) as run:
        if run.is_finished:
            print(f"{run.folder}: up to date")
            return
        print(json.dumps(run_recipe(recipe, run), indent=2))


if __name__ == "__main__":
    main()
