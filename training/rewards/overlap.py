"""Starts to judge a completion when vLLM has finished it, while the others of the step are still being generated.

This needs vLLM in the trainer's process, where each step of its engine returns what it has finished. In server mode
TRL sends all prompts of a step in one request, and the reply comes after the last completion.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from autodata.training.rewards.reward import Reward

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl import GRPOTrainer

Row = Mapping[str, Any]  # as make_rows makes it
_BATCH = 256  # prompts that are encoded at once, on several cores


class Engine(Protocol):
    """The part of vLLM's LLMEngine that is used: one step returns the RequestOutputs that it changed."""

    step: Callable[[], list[Any]]


def judge_early(trainer: GRPOTrainer, rows: Iterable[Row], reward: Reward) -> None:
    """Let `reward` judge every completion of these rows as soon as it is generated, wherever vLLM allows it.

    With tensor parallelism it does not: each process sees the completions of all, and would pay for all of them.
    """
    config = trainer.args
    if config.use_vllm and config.vllm_mode == "colocate" and config.vllm_tensor_parallel_size == 1:
        tokenizer = trainer.processing_class
        prompts = index_prompts(list(rows), tokenizer)

        def start(prompt_ids: Sequence[int], ids: list[int]) -> None:
            if row := prompts.get(hash_ids(prompt_ids)):
                text = tokenizer.batch_decode([ids], skip_special_tokens=True)[0]  # as TRL decodes
                reward.start(row, text, ids, trainer.async_loop)

        watch_engine(trainer.vllm_generation.llm.llm_engine, start)


def watch_engine(engine: Engine, tell: Callable[[Sequence[int], list[int]], None]) -> None:
    """Make the engine call `tell` with the token ids of a prompt and of its completion when it has finished it."""
    step = engine.step

    def step_and_tell() -> list[Any]:
        outputs = step()
        for output in outputs:
            for completion in output.outputs if output.finished else ():
                tell(output.prompt_token_ids, list(completion.token_ids))
        return outputs

    engine.step = step_and_tell


def index_prompts(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> dict[bytes, Row | None]:
    """Map the hash of each prompt's token ids to its row, or to None if rows with this prompt differ in the candidate.

    A completion of such a prompt could belong to either candidate, so it is judged after the generation.
    """
    index: dict[bytes, Row | None] = {}
    for begin in range(0, len(rows), _BATCH):
        batch = rows[begin : begin + _BATCH]
        encoded = tokenizer(text=[row["prompt"] for row in batch])["input_ids"]  # as TRL encodes
        for key, row in zip(map(hash_ids, encoded), batch, strict=True):
            first = index.setdefault(key, row)
            if first and first["candidate"] != row["candidate"]:
                index[key] = None
    return index


def hash_ids(ids: Sequence[int]) -> bytes:
    """Hash token ids: the ids of thousands of long prompts would take gigabytes."""
    return hashlib.sha256(array("q", ids).tobytes()).digest()
