"""Turns examples into the rows that TRL trains on."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from autodata.config import RecipeError
from autodata.loop.domain import Domain
from autodata.serving.wire.reply import OPEN_THINKING, split_thinking
from autodata.types import CANDIDATE, Candidate, Example, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PADDING = "padding"  # the set of rows that only fill a batch up
Render = Callable[[Candidate], str]  # render_prompt for one domain and tokenizer


class TooFewExamples(UserError):
    """There is too little to train on; the message names the data set and the recipe key."""


def choose_by_pass_rate(examples: Sequence[Example], bounds: Sequence[float]) -> list[Example]:
    """Keep the examples whose weak solver's mean score lies within [low, high]; all if no bounds are given.

    This is the control without a loop: difficulty by selection, not by construction. Raises RecipeError.
    """
    if not bounds:
        return list(examples)
    if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1] <= 1:
        raise RecipeError(f"pass_rate={list(bounds)}: give two numbers between 0 and 1, the lower first")
    low, high = bounds
    return [e for e in examples if e.weak_scores and low <= fmean(e.weak_scores) <= high]


def draw_examples(examples: Sequence[Example], count: int | None, seed: int, dataset: str) -> list[Example]:
    """Draw `count` examples at random and keep their order; None keeps all. Raises TooFewExamples, RecipeError."""
    if count is None:
        return list(examples)
    if count < 1:
        raise RecipeError(f"train_examples={count}: must be at least 1")
    require_examples(examples, "train_examples", count, dataset)
    return [examples[i] for i in sorted(random.Random(seed).sample(range(len(examples)), count))]


def require_examples(examples: Sequence[Example], key: str, minimum: int, dataset: str) -> None:
    """Raise TooFewExamples if there are fewer than the recipe's `key` asks for."""
    if len(examples) < minimum:
        raise TooFewExamples(
            f"{dataset}: too few training examples: {len(examples)}, fewer than {key}={minimum}; "
            f"generate from more documents, or lower {key}"
        )


def spread(examples: Sequence[Example], at_most: int | None) -> list[Example]:
    """Take examples at equal distances, at most so many. They are sorted by document, so most documents are kept."""
    if at_most is None or len(examples) <= at_most:
        return list(examples)
    return [examples[number * len(examples) // at_most] for number in range(at_most)]


def make_rows(examples: Sequence[Example], render: Render, name: str = "train") -> list[dict[str, str]]:
    """Make one row per example: the rendered prompt, the candidate as one JSON string, and the set it belongs to."""
    return [
        {
            "prompt": render(e.candidate),
            "example_id": e.id,
            "set": name,
            "candidate": CANDIDATE.dump_json(e.candidate).decode(),
        }
        for e in examples
    ]


def fill_up(rows: Sequence[dict[str, Any]], group: int, batch: int | None, processes: int) -> list[dict[str, Any]]:
    """Add padding rows until all processes have as many completions, so that none is generated or counted twice.

    `batch` is the number of completions of a process at a time; None: all of its completions.
    """
    unit = (batch or 1) * processes
    missing = next(n for n in range(unit) if (len(rows) + n) * group % unit == 0) if processes > 1 else 0
    return [*rows, *({**rows[0], "set": PADDING} for _ in range(missing))]


def order_rows(rows: int, epochs: int, seed: int) -> list[int]:
    """List row numbers epoch after epoch, each epoch in its own random order.

    TRL's own shuffling starts again with the first epoch's order if training resumes in a later epoch.
    """
    chance = random.Random(seed)
    return [number for _ in range(epochs) for number in chance.sample(range(rows), rows)]


def render_prompt(
    candidate: Candidate, domain: Domain, tokenizer: PreTrainedTokenizerBase, template: Mapping[str, Any]
) -> str:
    """Render the solver's prompt as a string, byte for byte as the server does in generation.

    TRL gets a string, because it would open a new assistant turn where the last one should be continued. `template`
    holds variables of the chat template, such as enable_thinking.
    """
    messages = domain.solver_prompt(candidate)
    continues = messages[-1].role == "assistant"
    text = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages],
        tokenize=False,
        continue_final_message=continues,
        add_generation_prompt=not continues,
        **template,
    )
    return str(text)


def read_answer(prompt: str, completion: str) -> str | None:
    """Return the text after the reasoning; None if the reasoning does not end.

    The prompt of a thinking model ends inside the think block, so only its closing tag is in the completion.
    """
    opened = OPEN_THINKING if prompt.rstrip().endswith(OPEN_THINKING) else ""
    return split_thinking(opened + completion)[1]
