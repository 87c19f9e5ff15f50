"""Changes TRL's trainer where it repeats work: no padding in forward passes, and evaluations without them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import pad
from trl import GRPOTrainer

from autodata.training.rows import PADDING
from autodata.training.shared_prompt import divide_by_prompt, keeps_whole_past, run_prompt

Scores = tuple[Tensor, Tensor | None, Tensor | None]  # log-probabilities, entropies, loss of the router


class PolicyTrainer(GRPOTrainer):
    """Trains the policy as TRL does; its gradients are the same up to the order of additions.

    TRL pads the rows of a step to the longest of them (huggingface/trl#7179). A padded row costs its full width, and
    makes attention build a mask of width by width.
    """

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, **options: Any
    ) -> Scores:
        """Go through the model with as few rows at once as in training, each cut to what it uses.

        `input_ids` and `attention_mask` have shape (rows, prompt + completion). Returns log-probabilities and
        entropies of shape (rows, logits_to_keep), 0 where a row has padding.
        """
        options.pop("batch_size", None)
        size = self.args.per_device_train_batch_size
        run = self._run_groups if self._can_share_prompts(model, options) else self._run_rows
        passes = zip(input_ids.split(size), attention_mask.split(size), strict=True)
        return join([run(model, ids, mask, logits_to_keep, **options) for ids, mask in passes])

    def _can_share_prompts(self, model: Any, options: Mapping[str, Any]) -> bool:
        """Return True if rows with the same prompt can share one pass over it.

        Gradient checkpointing allows no cache. DDP and DeepSpeed expect one forward pass for each backward pass.
        """
        others = [value for key, value in options.items() if key != "compute_entropy"]
        has_only_text = all(value is None or value is False for value in others)
        is_bare = model is self.accelerator.unwrap_model(model)
        is_plain = has_only_text and is_bare and not self.args.gradient_checkpointing
        return is_plain and keeps_whole_past(model.config)

    def _run_groups(self, model: Any, ids: Tensor, mask: Tensor, kept: int, **options: Any) -> Scores:
        """Go through the model with the rows of each prompt at once, then with the rows whose prompt no other has."""
        groups, alone = divide_by_prompt(ids.masked_fill(mask == 0, -1)[:, :-kept])
        parts = [self._run_group(model, ids[rows], mask[rows], kept, **options) for rows in groups]
        if len(alone):
            parts.append(self._run_rows(model, ids[alone], mask[alone], kept, **options))
        logps, entropies, loss = join(parts)
        order = torch.cat([*groups, alone]).argsort()
        return logps[order], None if entropies is None else entropies[order], loss

    def _run_group(self, model: Any, ids: Tensor, mask: Tensor, kept: int, **options: Any) -> Scores:
        """Go through the model with the prompt of all rows once, then with their completions."""
        first, last = find_used(mask, kept)[0], ids.size(1) - kept - 1  # columns of the prompt's first and last token
        if first >= last:  # a single token leaves nothing to share
            return self._run_rows(model, ids, mask, kept, **options)
        with self.accelerator.autocast():
            continue_prompt = run_prompt(model, ids[:1, first:last], len(ids))
        # The rows begin with the prompt's last token, because it predicts the first token of each completion.
        return self._run_rows(continue_prompt, ids[:, last:], mask[:, last:], kept, **options)

    def _run_rows(self, model: Any, ids: Tensor, mask: Tensor, kept: int, **options: Any) -> Scores:
        """Go through the model with some rows, without the columns that none of them uses."""
        first, end = find_used(mask, kept)
        cut = ids.size(1) - end
        sides = ids[:, first:end], mask[:, first:end], kept - cut
        logps, entropies, loss = super()._get_per_token_logps_and_entropies(model, *sides, **options)
        return pad(logps, (0, cut)), None if entropies is None else pad(entropies, (0, cut)), loss

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """Let all processes take their longest rows first: in each forward pass they wait for the slowest of them."""
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before:
            return inputs
        self._buffered_inputs.sort(key=count_tokens, reverse=True)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: object = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score completions of the watched rows; unlike TRL, without a forward pass of the trainer.

        With vLLM all rows are one batch. Logs means over all completions, by set, and `eval_runtime` in seconds.
        """
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        start, told = time.monotonic(), Means()
        self.model.eval()
        with self._one_batch(rows):
            for batch in self.get_eval_dataloader(rows):
                self._score(batch, told.add)
        metrics = {f"eval_{key}": value for key, value in told.gather().items()}
        metrics[f"{metric_key_prefix}_runtime"] = time.monotonic() - start
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def probe(self, rows: Dataset) -> Mapping[str, float]:
        """Evaluate rows as TRL does, in groups as in training and with a forward pass; return what it logged."""
        group_size, self.num_generations_eval = self.num_generations_eval, self.num_generations
        try:
            super().evaluate(rows, metric_key_prefix="eval_probe")
        finally:
            self.num_generations_eval = group_size
        return self.state.log_history[-1]

    @contextmanager
    def _one_batch(self, rows: Dataset) -> Iterator[None]:
        """Let vLLM have all prompts at once; transformers would need memory for all of them."""
        before = self.args.per_device_eval_batch_size
        if self.use_vllm:
            self.args.per_device_eval_batch_size = len(rows) * self.num_generations_eval // self.args.world_size
        try:
            yield
        finally:
            self.args.per_device_eval_batch_size = before

    def _score(self, rows: Sequence[Mapping[str, Any]], log_metric: Callable[[str, float], None]) -> None:
        """Generate a completion of each row and judge those that are not padding."""
        _, completion_ids, _, completions, *_ = self._generate([row["prompt"] for row in rows])
        answers = zip(rows, completions, completion_ids, strict=True)
        real = [answer for answer in answers if answer[0]["set"] != PADDING]
        if not real:
            return
        kept, texts, ids = zip(*real, strict=True)
        columns = {key: [row[key] for row in kept] for key in kept[0] if key != "prompt"}
        prompts = [row["prompt"] for row in kept]
        scoring = self.reward_funcs[0](prompts, texts, ids, log_metric=log_metric, **columns)
        asyncio.run_coroutine_threadsafe(scoring, self.async_loop).result()


class Means:
    """Adds up values by name, here and over all processes."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, name: str, value: float) -> None:
        total, count = self._sums.get(name, (0.0, 0))
        self._sums[name] = total + value, count + 1

    def gather(self) -> dict[str, float]:
        """Return the means over all processes; all of them must call this."""
        shares = gather_object([self._sums])
        names = sorted({name for sums in shares for name in sums})
        pairs = {name: [sums.get(name, (0.0, 0)) for sums in shares] for name in names}
        return {name: sum(total for total, _ in p) / sum(count for _, count in p) for name, p in pairs.items()}


def find_used(mask: Tensor, logits_to_keep: int) -> tuple[int, int]:
    """Return the first column that any row uses and the column after the last, at least one of the completion."""
    used = mask.any(dim=0).nonzero()
    first, last = int(used[0]), int(used[-1])
    return first, max(last + 1, mask.size(1) - logits_to_keep + 1)


def join(parts: Sequence[Scores]) -> Scores:
    """Put the rows of several passes below each other; the loss is their mean."""
    logps, entropies, losses = zip(*parts, strict=True)
    return (
        torch.cat(logps),
        None if entropies[0] is None else torch.cat(entropies),
        None if losses[0] is None else torch.stack(losses).mean(),
    )


def count_tokens(inputs: Mapping[str, Tensor]) -> int:
    """Count the columns that a forward pass over these rows has."""
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    return int(mask.any(dim=0).sum())
