"""Examples → the rows that TRL trains on."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from autodata import store
from autodata.dataset import EXAMPLES
from autodata.domains.base import Domain
from autodata.types import CANDIDATE, EXAMPLE, Candidate, Example


class TooFewExamples(ValueError):
    """There is too little to train on; the message names the data set and the recipe key."""


def read_examples(dataset: str, arm: str, split: str) -> list[Example]:
    """The examples of one arm and split."""
    examples = store.read_records(Path(dataset) / EXAMPLES, EXAMPLE)
    return [e for e in examples if e.arm == arm and e.split == split]


def require_examples(examples: Sequence[Example], minimum: int, dataset: str) -> None:
    """Raise TooFewExamples below `minimum`: a policy trained on a handful only learns the handful."""
    if len(examples) < minimum:
        raise TooFewExamples(f"{dataset}: {len(examples)} training examples, fewer than min_examples={minimum}; "
                             "generate from more documents, or lower min_examples")  # fmt: skip


def make_rows(examples: Sequence[Example], domain: Domain, tokenizer: PreTrainedTokenizerBase) -> list[dict[str, str]]:
    """One row per example: the rendered prompt, and the candidate as one JSON string."""
    return [{"prompt": render_prompt(e.candidate, domain, tokenizer), "example_id": e.id,
             "candidate": CANDIDATE.dump_json(e.candidate).decode()} for e in examples]  # fmt: skip


def render_prompt(candidate: Candidate, domain: Domain, tokenizer: PreTrainedTokenizerBase) -> str:
    """The solver's prompt as a string, byte for byte what the server renders in generation.

    A string, because TRL opens a new assistant turn where a last one should be continued.
    """
    messages = domain.solver_prompt(candidate)
    continues = messages[-1].role == "assistant"
    text = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages],
        tokenize=False,
        continue_final_message=continues,
        add_generation_prompt=not continues,
    )
    return str(text)
