"""Tests what a reply used, in the spellings of providers, and that its cost is the sum by hand, to the nano-dollar."""

import asyncio
import itertools
import re

import pytest

from autodata.config import RecipeError
from autodata.recipes.models import Budget, Endpoint, Models, Price, RoleConfig, Server
from autodata.run.progress import check_budget
from autodata.serving.costs import LEDGER, Cost, add, add_usd, find_spent_budget, price_earlier, tell_usd
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.usage import Usage, charge, read_usage, to_nano
from autodata.stats.writing import write_usd
from autodata.types import REPLY, Role
from tests.helpers.fake_server import completion, fake_server
from tests.helpers.recipes import load_recipe, models_at, request

DEMO = "recipes/demo/generate.yaml"
COUNTS = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
SENSELESS = (None, -0.1, "free", True, float("nan"), float("inf"), {})
WEAK, JUDGE = Role.WEAK_SOLVER, Role.JUDGE


@pytest.mark.parametrize(("reported", "usage"), [
    (None, Usage()),
    ("many", Usage()),
    ({}, Usage()),
    (COUNTS, Usage(1_000, 100)),
    ({"prompt_tokens": -1, "completion_tokens": None, "total_tokens": "x"}, Usage()),
    ({"prompt_tokens": 12.0, "completion_tokens": True}, Usage(12)),
    # cached tokens: OpenAI, DeepSeek, Moonshot, a gateway to Anthropic, and a provider that counts them apart
    (COUNTS | {"prompt_tokens_details": {"cached_tokens": 800}}, Usage(1_000, 100, 800)),
    (COUNTS | {"prompt_tokens_details": None}, Usage(1_000, 100)),
    (COUNTS | {"prompt_cache_hit_tokens": 640, "prompt_cache_miss_tokens": 360}, Usage(1_000, 100, 640)),
    (COUNTS | {"cached_tokens": 1_000}, Usage(1_000, 100, 1_000)),
    (COUNTS | {"cache_read_input_tokens": 5, "cache_creation_input_tokens": 7}, Usage(1_000, 100, 5)),
    (COUNTS | {"prompt_tokens_details": {"cached_tokens": 1_001}}, Usage(2_001, 100, 1_001)),
    # the same with fewer cached tokens than others, which the total shows, and with reasoning apart as well
    (COUNTS | {"cached_tokens": 800, "total_tokens": 1_900}, Usage(1_800, 100, 800)),
    (COUNTS | {"cached_tokens": 800, "reasoning_tokens": 50, "total_tokens": 1_950}, Usage(1_800, 150, 800, 50)),
    (COUNTS | {"cache_read_input_tokens": 500, "cache_creation_input_tokens": 300, "total_tokens": 1_900},
     Usage(1_800, 100, 500)),
    (COUNTS | {"cached_tokens": 60, "reasoning_tokens": 60, "total_tokens": 1_160}, Usage(1_000, 160, 60, 60)),
    ({"input_tokens": "1000", "output_tokens": 100.0}, Usage(1_000, 100)),
    # reasoning: within the completion, apart from it, and only in the total
    (COUNTS | {"completion_tokens_details": {"reasoning_tokens": 90}}, Usage(1_000, 100, 0, 90)),
    (COUNTS | {"completion_tokens_details": {"reasoning_tokens": 101}}, Usage(1_000, 201, 0, 101)),
    (COUNTS | {"total_tokens": 1_500}, Usage(1_000, 500)),
    ({"total_tokens": 1_500}, Usage()),  # which of them are dear cannot be known
    # what it cost: OpenRouter, the same with the user's own key, Perplexity, xAI, DeepInfra
    (COUNTS | {"cost": 0.00014}, Usage(1_000, 100, nano_usd=140_000)),
    (COUNTS | {"cost": 0}, Usage(1_000, 100, nano_usd=0)),
    (COUNTS | {"cost": 1e-9}, Usage(1_000, 100, nano_usd=1)),
    (COUNTS | {"cost": 0.01, "cost_details": {"upstream_inference_cost": 0.2}},
     Usage(1_000, 100, nano_usd=10_000_000)),
    (COUNTS | {"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}},
     Usage(1_000, 100, nano_usd=210_000_000)),
    (COUNTS | {"cost": {"input_tokens_cost": 0.001, "total_cost": 0.006}}, Usage(1_000, 100, nano_usd=6_000_000)),
    (COUNTS | {"cost_in_usd_ticks": 37_756_000}, Usage(1_000, 100, nano_usd=3_775_600)),
    (COUNTS | {"estimated_cost": "0.00002"}, Usage(1_000, 100, nano_usd=20_000)),
    *((COUNTS | {"cost": cost}, Usage(1_000, 100)) for cost in SENSELESS),
])  # fmt: skip
def test_tokens_and_cost_are_read_wherever_providers_report_them(reported, usage):
    assert read_usage(reported) == usage


@pytest.mark.parametrize(("prices", "counts", "nano"), [
    ((0.15, 0.60), (1_000, 100), 210_000),
    ((0.15, 0.60, 0.075), (1_000, 100, 800), 150_000),
    ((0.15, 0.60), (1_000, 100, 800), 210_000),  # without a price of their own, cached tokens cost as much as others
    ((0.0375, 0.3), (1, 0), 38),  # 37.5 is rounded, to the even number …
    ((0.0375, 0.3), (3, 0), 112),  # … but only once: 112.5
    ((0.0, 0.0), (10**9, 10**9), 0),
    ((75, 150), (312_000_000, 0), 23_400 * 10**9),
])  # fmt: skip
def test_tokens_are_charged_to_the_nano_dollar(prices, counts, nano):
    prompt, completion, *cached = counts
    assert charge(Price(*prices), prompt, completion, *cached) == nano


@pytest.mark.parametrize(("usd", "nano"), [(0.3, 300_000_000), ("12", 12 * 10**9), (None, None), (-1, None)])
def test_dollars_become_nano_dollars(usd, nano):
    assert to_nano(usd) == nano


@pytest.mark.parametrize(("nano", "text"), [
    (None, "–"), (0, "$0.00"), (1, "$0.00000000100"), (5_123_456, "$0.00512"), (210_000_000, "$0.210"),
    (1_234_567_890, "$1.23"), (23_400 * 10**9, "$23,400.00"),
])  # fmt: skip
def test_an_amount_is_written_with_the_digits_that_matter(nano, text):
    assert write_usd(nano) == text


# ── the ledger ──


def paid(nano: int | None, calls: int = 1) -> Cost:
    return Cost(calls=calls, prompt_tokens=10 * calls, nano_usd=nano)


@pytest.mark.parametrize(("parts", "total"), [
    ([], None),
    ([paid(3), paid(4)], 7),
    ([paid(3), paid(None)], None),
    ([paid(3), Cost(replayed=9)], 3),  # nothing was asked there, so there is nothing to know
    ([Cost(replayed=9)], None),
    ([paid(0), paid(0, calls=0)], 0),
])  # fmt: skip
def test_an_unknown_part_makes_the_sum_unknown(parts, total):
    for order in itertools.permutations(parts):
        assert add_usd(order) == total
        assert sum(order, Cost()).nano_usd == total


def test_a_ledger_from_before_has_no_cost_instead_of_none_at_all():
    old = LEDGER.validate_json('{"judge": {"calls": 2, "prompt_tokens": 9, "completion_tokens": 1}}')
    assert old[JUDGE].nano_usd is None
    assert add([old, {JUDGE: paid(5)}])[JUDGE].nano_usd is None
    assert tell_usd(old | {WEAK: paid(10**9)}) == {"judge": "–", "weak_solver": "$1.00", "all roles": "–"}


def test_a_price_that_is_set_later_holds_for_what_was_asked_before():
    models = Models({"e": Endpoint("m", price=Price(1, 2, 0.5))}, judge=RoleConfig("e"))
    before = Cost(calls=2, prompt_tokens=10, completion_tokens=3, cached_tokens=4)
    ledger = price_earlier({JUDGE: before, WEAK: before}, models)
    assert (ledger[JUDGE].nano_usd, ledger[WEAK].nano_usd) == (6_000 + 6_000 + 2_000, None)
    assert price_earlier({JUDGE: paid(7)}, models)[JUDGE].nano_usd == 7


# ── asked ──


def ask_twice(journal: Journal, usages: list[dict], price: Price | None) -> Client:
    """Ask one question for each usage that the server reports, and each of them again."""

    def script(body, count):
        reply = completion("fine")
        reply.body["usage"] = usages[count - 1]
        return reply

    async def go(client: Client) -> None:
        for seed in [*range(len(usages))] * 2:
            await client.ask(request(seed=seed))
        await client.close()

    with fake_server(script) as server:
        models = models_at(server.url)
        models.endpoints["fake"].price = price
        client = Client(models, journal)
        asyncio.run(go(client))
    assert len(server.requests) == len(usages)  # what was asked before costs nothing
    return client


CACHED = COUNTS | {"prompt_tokens_details": {"cached_tokens": 800}}
CHARGED = COUNTS | {"cost": 0.00123, "completion_tokens_details": {"reasoning_tokens": 60}}


@pytest.mark.parametrize(("usages", "price", "nano"), [
    ([COUNTS, CACHED, COUNTS], Price(0.0375, 0.3, 0.0075), 67_500 + 43_500 + 67_500),
    ([COUNTS, CHARGED], Price(1, 2), 1_200_000 + 1_230_000),  # the provider's word is preferred
    ([CHARGED, CHARGED], None, 2_460_000),
    ([CHARGED, COUNTS], None, None),
    ([COUNTS], None, None),
    ([COUNTS], Price(0, 0), 0),
])  # fmt: skip
def test_a_role_costs_the_sum_of_its_replies(journal, usages, price, nano):
    cost = ask_twice(journal, usages, price).ledger()[WEAK]
    assert (cost.nano_usd, cost.calls, cost.replayed) == (nano, len(usages), len(usages))


def test_cached_and_reasoning_tokens_are_kept_with_the_reply(journal):
    client = ask_twice(journal, [CACHED, CHARGED], None)
    (cost,) = client.ledger().values()
    assert (cost.cached_tokens, cost.reasoning_tokens) == (800, 60)

    async def replay():
        return [await client.ask(request(seed=seed)) for seed in range(2)]

    kept = [(r.cached_tokens, r.reasoning_tokens, r.nano_usd) for r in asyncio.run(replay())]
    assert kept == [(800, 0, None), (0, 60, 1_230_000)]


def test_a_reply_of_an_older_journal_is_read():
    old = '{"outcome":"answered","content":"x","reasoning":"","finish_reason":"stop","model":"m","prompt_tokens":1,'
    reply = REPLY.validate_json(f'{old}"completion_tokens":2,"latency_s":0.1}}')
    assert (reply.cached_tokens, reply.reasoning_tokens, reply.nano_usd) == (0, 0, None)


# ── budget.usd ──


@pytest.mark.parametrize(("limit", "is_reached"), [(0.3, True), (0.29, True), (0.300000001, False), (None, False)])
def test_the_budget_is_reached_exactly(limit, is_reached):
    spent = find_spent_budget(Budget(usd=limit), {WEAK: paid(100_000_000), JUDGE: paid(200_000_000)}, 0.0)
    assert spent == (f"budget.usd={limit} is reached (0.3 used): raise it" if is_reached else None)


def test_a_budget_stops_where_nobody_knows_what_is_spent():
    message = find_spent_budget(Budget(usd=5), {WEAK: paid(1), JUDGE: paid(None)}, 0.0)
    assert message.startswith(
        "budget.usd=5: what judge costs is not known; set `price` of the endpoint of models.judge"
    )
    assert find_spent_budget(Budget(usd=5), {WEAK: paid(1), JUDGE: Cost()}, 0.0) is None
    assert find_spent_budget(Budget(calls=5), {JUDGE: paid(None)}, 0.0) is None


def test_a_server_of_ones_own_needs_a_price_under_such_a_budget():
    models = Models({"e": Endpoint("m", server=Server("w"))}, judge=RoleConfig("e"))
    with pytest.raises(RecipeError, match=r"budget\.usd: .* models\.endpoints\.e\.price is not set; .* to 0 if"):
        check_budget(Budget(usd=1), models)
    models.endpoints["e"].price = Price(0, 0)
    check_budget(Budget(usd=1), models)
    check_budget(Budget(usd=1), Models({"e": Endpoint("m")}, judge=RoleConfig("e")))  # its provider may say the cost


@pytest.mark.parametrize(("setting", "message"), [
    ("price.input=-1", "price.input=-1.0: write US dollars per million tokens, 0 or more"),
    ("price.cached=.inf", "price.cached=inf: write US dollars"),
    ("price.output=.nan", "price.output=nan: write US dollars"),
])  # fmt: skip
def test_a_senseless_price_is_refused(setting, message):
    prices = {"price.input": "1", "price.output": "2"} | dict([setting.split("=")])
    with pytest.raises(RecipeError, match=f"models.endpoints.small.{message}"):
        load_recipe(DEMO, *(f"models.endpoints.small.{key}={value}" for key, value in prices.items()))


AT = "models.endpoints.small."
POSITIVE = ("requests_per_minute", "tokens_per_minute", "timeout_s")


@pytest.mark.parametrize("setting", [
    *(f"budget.{key}={value}" for key in ("usd", "hours", "gpu_hours") for value in (".nan", ".inf", "-0.01")),
    "budget.calls=-1", "budget.tokens=-1",
    *(f"{AT}{key}={value}" for key in POSITIVE for value in ("0", "-3", ".nan", ".inf")),
    f"{AT}max_in_flight=0", f"{AT}max_in_flight=-1", f"{AT}retries=-1",
    *(f"{AT}patience_s={value}" for value in ("-1", ".nan", ".inf")),
    "documents_in_flight=0", "quarantine_after=0",
    "max_error_rate=.nan", "max_filtered=-0.1", "max_unmeasured=1.1", "min_acceptance=.nan",
    "models.judge.sampling.max_tokens=0",
])  # fmt: skip
def test_a_limit_that_would_not_hold_is_refused(setting):
    with pytest.raises(RecipeError, match=rf"{re.escape(setting.split('=')[0])}=\S+: "):
        load_recipe(DEMO, "domain.roles=[judge,weak_solver]", "models.judge.endpoint=small", setting)


@pytest.mark.parametrize("setting", [
    "budget.usd=0", "budget.hours=0.5", "budget.calls=0", f"{AT}requests_per_minute=0.5", f"{AT}tokens_per_minute=1",
    f"{AT}max_in_flight=1", f"{AT}retries=0", f"{AT}patience_s=0", f"{AT}timeout_s=0.1", "documents_in_flight=1",
    "max_error_rate=0", "max_filtered=1", "models.judge.sampling.max_tokens=1",
])  # fmt: skip
def test_the_smallest_limits_are_taken(setting):
    load_recipe(DEMO, "domain.roles=[judge,weak_solver]", "models.judge.endpoint=small", setting)


def test_half_a_price_is_refused():
    with pytest.raises(RecipeError, match=r"no value for models\.endpoints\.small\.price\.output"):
        load_recipe(DEMO, "models.endpoints.small.price.input=1")
