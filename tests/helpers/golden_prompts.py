"""Renders every prompt for one fixed example, so that a change of a template shows as a change of text.

python -m tests.helpers.golden_prompts renews tests/golden/prompts; read its diff.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from autodata.eval.prbench.data import read_split
from autodata.eval.prbench.grader import Grader
from autodata.eval.question_types import TYPES
from autodata.loop import domain as base
from autodata.loop import orchestrator
from autodata.loop.agents import Agents
from autodata.loop.domain import Domain, JudgeFailed, Unsuitable
from autodata.loop.harness import Harness
from autodata.loop.parsing import ParseError
from autodata.loop.prompts import PromptSet
from autodata.meta.genome import read_baseline
from autodata.meta.mutate import Author
from autodata.serving.request import Request
from autodata.types import Candidate, Document, Message, Outcome, Reply, Round
from tests.helpers import prompt_material as material
from tests.helpers.recipes import load_recipe

REPO = Path(__file__).parent.parent.parent
GOLDEN = REPO / "tests" / "golden" / "prompts"
ADVICE = "Ask for a consequence that the numbers of the evaluation decide."
HISTORY = "iteration 1, refused: it named a model"
ANALYSIS = "Questions ask why something works; the weak solver explains that well. Ask for predictions instead."


class Recorder:
    """A client that keeps all prompts and sends unreadable replies."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.accounts = defaultdict(lambda: SimpleNamespace(counts=Counter()))

    async def ask(self, request: Request) -> Reply:
        self.requests.append(request)
        return Reply(Outcome.EMPTY, "", "", "stop", "nobody", 0, 0, 0.0)

    def record(self, *calls: Coroutine[None, None, object]) -> list[tuple[Message, ...]]:
        """Return the first prompt of each call, whether or not the call succeeds."""
        first = []
        for call in calls:
            at = len(self.requests)
            with suppress(JudgeFailed, ParseError, Unsuitable):
                asyncio.run(call)
            first.append(self.requests[at].messages)
        return first


def load_domain(name: str, client: Recorder) -> Domain:
    recipe = load_recipe(f"recipes/{'demo' if name == 'skills' else name}/generate.yaml", "recipes/models/laptop.yaml")
    domain = base.load(recipe.domain, client, recipe.seed)
    return domain


def ask_common(
    domain: Domain, client: Recorder, document: Document, rounds: Sequence[Round], candidate: Candidate
) -> dict[str, list[tuple[Message, ...]]]:
    """Render the prompts of every domain: challenger before and after failures, orchestrator, solver."""
    harness = Harness(domain, document, "agentic")
    harness.rounds = list(rounds)
    desk = orchestrator.Desk(domain.outline(document), refused="give_up is not legal now; legal: propose")
    name = domain.config.name
    return {
        f"{name}.challenger": client.record(
            domain.propose(document, [], 1, ""), domain.propose(document, rounds, len(rounds) + 1, ADVICE)
        ),
        f"{name}.orchestrator": client.record(orchestrator.choose(harness, desk)),
        f"{name}.solver": [
            domain.solver_prompt(candidate, shown) for shown in ("", domain.privileged(document, candidate))
        ],
    }


def ask_cs(client: Recorder) -> dict[str, list[tuple[Message, ...]]]:
    domain, rounds = load_domain("cs", client), material.fail_in_every_way(material.CS[:3])
    candidate, answer = material.CS[3], material.ANSWER
    return ask_common(domain, client, material.PAPER, rounds, candidate) | {
        "cs.quality_verifier": client.record(domain.check_quality(material.PAPER, candidate)),
        "domains.judge": client.record(
            domain.agents.judge(candidate, answer, 0, 1), domain.agents.judge(candidate, answer, 0, 1, per_call=2)
        ),
    }


def ask_legal(client: Recorder) -> dict[str, list[tuple[Message, ...]]]:
    domain, rounds, candidate = load_domain("legal", client), [material.send_back()], material.LEGAL[1]
    document = Document("law_01", material.OPINION.text, "law_01.txt", {"preparation": material.EXTRACT})
    weak, strong = material.LEGAL_WEAK, material.LEGAL_STRONG
    return ask_common(domain, client, document, rounds, candidate) | {
        "legal.extractor": client.record(domain.prepare(material.OPINION)),
        "legal.loop_judge": client.record(domain.assess(candidate, weak, strong, rounds)),
    }


def ask_science(client: Recorder) -> dict[str, list[tuple[Message, ...]]]:
    domain, candidate = load_domain("science", client), material.SCIENCE[3]
    rounds = material.fail_in_every_way(material.SCIENCE[:3], material.SCIENCE_ANSWER)
    return ask_common(domain, client, material.PROBLEMS, rounds, candidate) | {
        "science.screen": client.record(domain.check_quality(material.PROBLEMS, candidate)),
        "science.equivalence_judge": client.record(domain.judge(candidate, material.SCIENCE_ANSWER, 0)),
    }


def ask_skills(client: Recorder) -> dict[str, list[tuple[Message, ...]]]:
    domain = load_domain("skills", client)
    return ask_common(domain, client, material.PAPER, material.fail_by_skill(), material.SKILLS[3])


def ask_meta(client: Recorder) -> dict[str, list[tuple[Message, ...]]]:
    config = load_domain("cs", client).config
    author, genome = Author(client, 0, 1, 6_000, config.presets[config.preset]), read_baseline(config)
    failed = material.give_up(material.PAPER, material.fail_in_every_way(material.CS[:3]))
    return {
        "meta.analyser": client.record(author.analyse(2, [failed], 3, HISTORY)),
        "meta.editor": client.record(author.edit(2, genome, ANALYSIS, HISTORY)),
    }


def ask_eval(client: Recorder) -> dict[str, list[tuple[Message, ...]]]:
    models, prompts = load_recipe("recipes/demo/generate.yaml").models, PromptSet(REPO / "eval" / "prompts")
    grader = Grader("judge", models.weak_solver, models, None, asks=1)
    grader._agents = Agents(client, prompts)  # instead of a client of the network
    task = read_split(REPO / "recipes" / "legal" / "prbench_sample", "legal").tasks[0]
    slots = {"question": material.SCIENCE[3].question, "answer": material.SCIENCE[3].reference_answer, "types": TYPES}
    return {
        "prbench.grader": client.record(grader.grade(task, material.LEGAL_ANSWER, 0)),
        "eval.question_type": [prompts.render("question_type", slots)],
    }


@cache
def render_all() -> dict[str, str]:
    """Return the text of each golden file by its name."""
    client, prompts = Recorder(), {}
    for ask in (ask_cs, ask_legal, ask_science, ask_skills, ask_meta, ask_eval):
        prompts |= ask(client)
    return {f"{name}.txt": write(conversations) for name, conversations in prompts.items()}


def write(conversations: Sequence[Sequence[Message]]) -> str:
    """Write each turn under a heading and number the conversations if there are several."""
    lines = []
    for number, messages in enumerate(conversations, 1):
        which = f" of prompt {number}" if len(conversations) > 1 else ""
        lines += [f"════ {message.role}{which} ════\n{message.content}\n" for message in messages]
    return "\n".join(lines)


def find_templates() -> dict[str, Path]:
    """Return the template of each golden file by its name."""
    paths = [p for folder in ("autodata", "training", "eval") for p in sorted((REPO / folder).rglob("prompts/*.j2"))]
    return {f"{path.parent.parent.name}.{path.stem}.txt": path for path in paths}


def main() -> None:
    prompts = render_all()
    for old in GOLDEN.glob("*.txt"):
        old.unlink()
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, text in prompts.items():
        (GOLDEN / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
