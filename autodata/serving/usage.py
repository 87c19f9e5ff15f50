"""Reads what a reply used, in the spellings of many providers, and computes what tokens cost at a price."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from autodata.recipes.models import Price

NANO = 10**9  # nano-dollars in a dollar: money is counted in whole ones, because sums of floats are not exact
_PER = 10**6  # prices are for so many tokens
_NANO_PER_TICK = Decimal("0.1")  # xAI counts in ticks of 10⁻¹⁰ dollars
# Where providers report tokens; the first key that is there counts.
_PROMPT, _COMPLETION = ("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")
_CACHED = ("prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens", "cached_tokens",
           "cache_read_input_tokens", "input_tokens_details.cached_tokens")  # fmt: skip
_CREATED = "cache_creation_input_tokens"  # written to the cache; only where cached tokens are counted apart
_REASONING = ("completion_tokens_details.reasoning_tokens", "reasoning_tokens")
# Perplexity lists a price for each part, and the sum; DeepInfra says that its sum is estimated.
_COSTS = ("cost.total_cost", "cost", "total_cost", "estimated_cost")
_UPSTREAM = "cost_details.upstream_inference_cost"  # OpenRouter, with a key of the user's own at the model's provider


@dataclass(frozen=True)
class Usage:
    """What one reply used. The fields have the names of those of a Reply."""

    prompt_tokens: int = 0  # cached ones included; 0 if not reported
    completion_tokens: int = 0  # reasoning included
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    nano_usd: int | None = None  # what the provider says that it cost; None if it says nothing


def read_usage(usage: object) -> Usage:
    """Read the `usage` of a chat completion. A count that is missing, negative or no number is 0."""
    if not isinstance(usage, Mapping):
        return Usage()
    cached, reasoning = (_count_first(usage, paths) for paths in (_CACHED, _REASONING))
    prompt, completion, total = (_count_first(usage, paths) for paths in (_PROMPT, _COMPLETION, ("total_tokens",)))
    apart = total - prompt - completion  # tokens that are in the total alone
    outside = cached + _count(usage, _CREATED)
    if cached > prompt or (outside and apart != reasoning and apart in (outside, outside + reasoning)):
        prompt += outside  # then the provider counts cached tokens apart
    if reasoning > completion:  # and reasoning likewise; others report it only in the total
        completion += reasoning
    if prompt:  # a total alone does not tell what was read from what was written
        completion = max(completion, total - prompt)
    return Usage(prompt, completion, cached, reasoning, _read_cost(usage))


def count_read(usage: object) -> int:
    """Count all prompt tokens of a reply, if cached ones are reported apart; 0 if none are reported."""
    if not isinstance(usage, Mapping):
        return 0
    return sum(_count_first(usage, paths) for paths in (_PROMPT, _CACHED, (_CREATED,)))


def to_nano(usd: object) -> int | None:
    """Turn a number of dollars, or its text, into nano-dollars; None if it is no amount that one can pay."""
    amount = _read_amount(usd)
    return None if amount is None else round(amount * NANO)


def charge(price: Price, prompt: float, completion: float, cached: float = 0) -> int:
    """Return what tokens cost, in nano-dollars. Only the result is rounded, so many replies may be charged at once."""
    usd = {kind: Decimal(str(value)) for kind, value in vars(price).items() if value is not None}
    read, written, again = (Decimal(str(count)) for count in (prompt - cached, completion, cached))
    million_usd = read * usd["input"] + written * usd["output"] + again * usd.get("cached", usd["input"])
    return round(million_usd * NANO / _PER)


def _read_cost(usage: Mapping[str, object]) -> int | None:
    """Read what the provider charges for a reply, in nano-dollars."""
    if (ticks := _read_amount(usage.get("cost_in_usd_ticks"))) is not None:
        return round(ticks * _NANO_PER_TICK)
    cost = next((nano for path in _COSTS if (nano := to_nano(_find(usage, path))) is not None), None)
    upstream = to_nano(_find(usage, _UPSTREAM)) if usage.get("is_byok") is True else None
    return cost if cost is None else cost + (upstream or 0)


def _read_amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < NANO else None


def _count_first(usage: Mapping[str, object], paths: tuple[str, ...]) -> int:
    return next((count for path in paths if (count := _count(usage, path))), 0)


def _count(usage: Mapping[str, object], path: str) -> int:
    value = usage.get(path) if "." not in path else _find(usage, path)
    if value is None or value == 0:  # the usual case, in every reply
        return 0
    amount = _read_amount(value)
    return 0 if amount is None else int(amount)


def _find(usage: Mapping[str, object], path: str) -> object:
    """Return the value at a path such as `cost.total_cost`; None if there is none."""
    value: object = usage
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
