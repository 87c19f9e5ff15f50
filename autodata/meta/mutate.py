"""Turns failed trajectories into an edit: an analyser finds the causes, an editor acts on them (paper Sec. 4)."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autodata.loop.acceptance import describe_gate
from autodata.loop.agents import Agents, attempt_seed, make_object
from autodata.loop.parsing import ParseError, read_text
from autodata.loop.prompts import PromptSet
from autodata.meta.genome import ITEMS, NEGATIVE, WEIGHT, Genome
from autodata.recipes.domain import Gate, RubricBounds, Shape
from autodata.serving.llm import Client
from autodata.serving.request import Request
from autodata.types import Role, Round, Trajectory

_PROMPTS = Path(__file__).parent / "prompts"
_MAX_TEXT, _MAX_EDITS = 20_000, 20
_MORE_TOLERATED = 5  # criteria that a rubric may have beyond those that the challenger is asked for
ANALYSIS = make_object({"analysis": {"type": "string", "minLength": 1}})


@dataclass(frozen=True)
class Edit:
    """A new genome, the editor's hypothesis about it, and the record that makes it from its parent."""

    genome: Genome
    hypothesis: str
    record: dict[str, Any]


class Author:
    """Asks the analyser and the editor. Both see documents and answers as sealed material."""

    def __init__(self, client: Client, seed: int, asks: int, shown_chars: int, gate: Gate):
        self._prompts = PromptSet(_PROMPTS)
        self._agents = Agents(client, self._prompts)
        self._seed, self._asks, self._shown_chars, self._gate = seed, asks, shown_chars, describe_gate(gate)

    @property
    def spent(self) -> int:
        """Tokens read and written so far."""
        return sum(self._agents.spent.values())

    async def analyse(self, iteration: int, trajectories: Sequence[Trajectory], tried: int, history: str) -> str:
        """Ask the analyser why these trajectories failed, of all documents that were tried. Raises ParseError."""
        failures = Counter(str(r.verdict.failure) for t in trajectories for r in t.rounds if r.verdict.failure)
        shown = describe(trajectories, self._shown_chars)
        counts = {"passed": tried - len(trajectories), "tried": tried, "failures": failures.most_common()}
        slots = {"gate": self._gate, **counts, "history": history, "trajectories": shown}
        request = self._write(iteration, Role.ANALYSER, slots, ANALYSIS)
        return await self._agents.ask_until_read(request, lambda r: read_text(r, "analysis", _MAX_TEXT), self._asks)

    async def edit(self, iteration: int, parent: Genome, analysis: str, history: str) -> Edit:
        """Ask the editor for an edit of the parent; the wall decides later if it may be tried. Raises ParseError."""
        shape = json.dumps(describe_shape(parent.shape)) if parent.shape else ""
        limits = {"criteria": ITEMS, "negative": NEGATIVE, "weight": WEIGHT}
        slots = {"analysis": analysis, "history": history, "prompts": parent.prompts, "shape": shape}
        slots |= {"edits": _MAX_EDITS, "limits": limits}
        request = self._write(iteration, Role.EDITOR, slots, edit_schema(parent))
        return await self._agents.ask_until_read(request, lambda record: read_edit(record, parent), self._asks)

    def _write(self, iteration: int, role: Role, slots: Mapping[str, object], schema: dict[str, Any]) -> Request:
        seed = attempt_seed(self._seed, f"iteration {iteration}", 0, role, 0)
        return Request(role, self._prompts.render(role, slots), seed, schema=schema)


def describe(trajectories: Sequence[Trajectory], max_chars: int) -> str:
    """Describe the trajectories round by round, in `max_chars` characters shared equally; the last rounds are kept."""
    room = max_chars // max(1, len(trajectories))
    texts = ("\n".join(map(_describe_round, trajectory.rounds)) for trajectory in trajectories)
    return "\n\n".join(f"Document {number}\n{text[-room:]}" for number, text in enumerate(texts, 1))


def _describe_round(round: Round) -> str:
    lines = [f"Round {round.number}: {round.verdict.failure or 'accepted'}. {round.verdict.reason}"]
    if round.candidate:
        lines += [f"Question: {round.candidate.question}", f"Context: {round.candidate.context}"]
        lines += [
            f"Criterion ({c.weight:+d}): {c.text}{_count_met(round, at)}"
            for at, c in enumerate(round.candidate.rubric)
        ]
    if round.quality and not round.quality.passed:
        lines.append(f"Quality check: {round.quality.reason}")
    for solver, attempts in (("weak", round.weak), ("strong", round.strong)):
        for a in attempts:
            score = "not judged" if a.judgement.score is None else f"{a.judgement.score:.2f}"
            lines.append(f"Answer of the {solver} solver, score {score}: {a.answer or a.outcome}")
    return "\n".join(lines)


def _count_met(round: Round, at: int) -> str:
    """Count how many attempts of each solver met a criterion; empty where nobody tried the question."""
    counts = []
    for solver, attempts in (("weak", round.weak), ("strong", round.strong)):
        met = [a.judgement.met[at] for a in attempts if a.judgement.met is not None]
        counts += [f"{solver} {sum(met)}/{len(met)}"] if met else []
    return f" — met by {', '.join(counts)}" if counts else ""


def describe_shape(shape: Shape) -> dict[str, object]:
    """Return the part of a shape that an editor may change."""
    return {**asdict(shape.asked), "weight_at_most": shape.weight_at_most}


def edit_schema(parent: Genome) -> dict[str, Any]:
    """Build the schema of an editor's reply: search and replace, and the shape if the parent has one."""
    text = {"type": "string"}
    edit = make_object({"prompt": {"enum": list(parent.prompts)}, "find": text, "replace": text})
    schema = make_object({"hypothesis": text, "edits": {"type": "array", "items": edit, "maxItems": _MAX_EDITS}})
    if parent.shape:
        pair = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
        bounds = dict.fromkeys(("items", "positive", "negative"), pair)
        shape = make_object({**bounds, "weight_at_most": {"type": "integer"}})
        schema["properties"] |= {"shape": shape}  # not required: a reply without a shape is valid
    return schema


def read_edit(record: Mapping[str, object], parent: Genome) -> Edit:
    """Make the edits of a reply on the parent. Raises ParseError for an edit that does not fit exactly."""
    edits, prompts = record.get("edits", []), dict(parent.prompts)
    if not isinstance(edits, list) or len(edits) > _MAX_EDITS:
        raise ParseError(f"`edits` is not a list of at most {_MAX_EDITS}")
    for edit in edits:
        name, find, new = (edit.get(k) if isinstance(edit, dict) else None for k in ("prompt", "find", "replace"))
        if not isinstance(name, str) or not isinstance(find, str) or not isinstance(new, str) or name not in prompts:
            raise ParseError("an edit names no prompt, or has no `find` and `replace`")
        if prompts[name].count(find) != 1 or not find:
            raise ParseError(f"`find` stands {prompts[name].count(find)} times in {name}, not once: {find[:80]!r}")
        prompts[name] = prompts[name].replace(find, new)
    hypothesis, shape = read_text(record, "hypothesis", _MAX_TEXT), _read_shape(record.get("shape"), parent.shape)
    return Edit(Genome(prompts, shape), hypothesis, dict(record))


def _read_shape(value: object, current: Shape | None) -> Shape | None:
    """Read the shape that the editor wants; the quality check then tolerates a few criteria more."""
    if value is None or current is None:
        return current
    if not isinstance(value, Mapping):
        raise ParseError("`shape` is not an object")
    wanted, weight = describe_shape(current) | dict(value), value.get("weight_at_most", current.weight_at_most)
    pairs = [wanted[name] for name in ("items", "positive", "negative")]
    if not all(isinstance(p, list) and len(p) == 2 and all(type(n) is int for n in p) for p in pairs):
        raise ParseError("`shape` has a bound that is not two integers")
    if type(weight) is not int:
        raise ParseError("`shape` has a weight that is no integer")
    items, positive = ([least, min(most + _MORE_TOLERATED, ITEMS[1])] for least, most in pairs[:2])
    return Shape(RubricBounds(*pairs), RubricBounds(items, positive, pairs[2]), weight)
