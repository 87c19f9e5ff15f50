"""Tests the parts of a training that need no GPU: rewards, order of rows, preflight, the card and the curve."""

import asyncio
import json
import math
from collections import defaultdict
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.config import RecipeError
from autodata.data.examples import Arm, make_example
from autodata.domains.skills.domain import Domain
from autodata.loop.acceptance import scores
from autodata.loop.rubric import judge
from autodata.recipes.domain import DomainConfig
from autodata.recipes.models import Endpoint, Models, RoleConfig, Sampling
from autodata.recipes.training import GrpoRecipe, PreflightConfig, RewardConfig
from autodata.serving.llm import Client
from autodata.serving.measured import EndpointError
from autodata.training.preflight import PreflightError, check_probe, estimate_bytes
from autodata.training.rewards.counts import Books
from autodata.training.rewards.reward import JudgeDown, Reward, measure_repetition
from autodata.training.rows import (
    TooFewExamples,
    choose_by_pass_rate,
    draw_examples,
    order_rows,
    read_answer,
    require_examples,
    spread,
)
from autodata.training.weights.card import write_card
from autodata.training.weights.student import freeze_vision
from autodata.types import (
    CANDIDATE,
    Attempt,
    Candidate,
    Criterion,
    End,
    Judgement,
    Outcome,
    Role,
    Round,
    Trajectory,
    UserError,
    Verdict,
)
from tests.helpers.training_world import make_dataset

CANDIDATE_JSON = CANDIDATE.dump_json(Candidate("They keep all", "records", (Criterion("next", 1),))).decode()
DOMAIN = Domain(DomainConfig("skills"), client=None)


@pytest.fixture(scope="module", autouse=True)
def run_folder(tmp_path_factory):
    """The run folder in which rewards keep their counts."""
    with chdir(tmp_path_factory.mktemp("run")):
        yield


def reward_of(domain, client=None, second=None, **config) -> Reward:
    reward = Reward(domain, client or Client(Models(), None), RewardConfig(**config), Books(Path(), 0, []), second)
    reward.end_ids = frozenset({0})
    return reward


def score(reward: Reward, completions: list[str], prompt: str = "p", ids=None, **columns) -> list[float | None]:
    """Return the rewards; logged metrics go to `reward.logged`."""
    reward.logged = defaultdict(list)
    count = len(completions)
    columns = {"candidate": [CANDIDATE_JSON] * count, "set": ["train"] * count, "trainer_state": None} | columns
    return asyncio.run(
        reward.score(
            prompts=[prompt] * count,
            completions=completions,
            completion_ids=ids or [[5, 0]] * count,
            log_metric=lambda name, value: reward.logged[name].append(value),
            **columns,
        )
    )


def test_the_reward_is_the_score_of_generation_to_the_bit():
    answers = [" records” and", " the records", "", "  "]
    candidate = CANDIDATE.validate_json(CANDIDATE_JSON)
    judged = [asyncio.run(DOMAIN.judge(candidate, a, 0)) for a in answers]
    ended = [Outcome.ANSWERED if a.strip() else Outcome.CUT_OFF for a in answers]
    attempts = [
        Attempt(i, 0, o, a, "", 1, 1, j) for i, (o, a, j) in enumerate(zip(ended, answers, judged, strict=True))
    ]
    assert score(reward_of(DOMAIN), answers) == [float(s) for s in scores(candidate, attempts)] == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("failure", ["unreadable", "endpoint down"])
def test_a_failed_judge_is_none_and_its_neighbours_keep_their_scores(failure):
    class Flaky(Domain):
        async def judge(self, candidate, answer, seed):
            if answer != " broken":
                return await super().judge(candidate, answer, seed)
            if failure == "endpoint down":
                raise EndpointError("judge at http://x: HTTP 503")
            return Judgement(None, None, "unreadable")

    reward = reward_of(Flaky(DomainConfig("skills"), client=None))
    assert score(reward, [" records", " broken", " x"]) == [1.0, None, 0.0]
    assert (reward.books.judged, reward.books.failed) == (3, 1)
    assert reward.logged["train/unscored"] == [0.0, 1.0, 0.0]


class Broken(Domain):
    async def judge(self, candidate, answer, seed):
        return (
            Judgement(None, None, "unreadable") if "broken" in answer else await super().judge(candidate, answer, seed)
        )


@pytest.mark.parametrize(("broken", "stops"), [(3, False), (4, True)])
def test_too_many_failed_judgements_stop_the_training(broken, stops):
    reward = reward_of(Broken(DomainConfig("skills"), client=None), max_failures=0.1)
    answers = [" broken"] * broken + [" records"] * (32 - broken)
    if stops:
        with pytest.raises(JudgeDown, match=r"12 % of the last 32 judgements failed.*unreadable"):
            score(reward, answers)
    else:
        assert score(reward, answers).count(None) == broken


def test_few_judgements_stop_nothing():
    assert score(reward_of(Broken(DomainConfig("skills"), client=None)), [" broken"] * 31) == [None] * 31


@pytest.mark.parametrize(("cut_off", "expected"), [("zero", 0.0), ("penalise", -0.25), ("mask", None), ("judge", 1.0)])
def test_what_a_cut_off_completion_earns(cut_off, expected):
    reward = reward_of(DOMAIN, cut_off=cut_off, penalty=0.25)
    assert score(reward, [" records", " records"], ids=[[5, 7], [5, 0]]) == [expected, 1.0]
    assert reward.logged["train/cut_off"] == [1.0, 0.0]
    assert reward.logged["train/score_finished"] == [1.0]
    assert reward.logged["train/score_cut_off"] == ([] if expected is None else [expected])


def test_an_unknown_policy_is_an_error():
    with pytest.raises(RecipeError, match=r"reward\.cut_off=drop: choose one of zero, penalise, mask, judge"):
        reward_of(DOMAIN, cut_off="drop")


@pytest.mark.parametrize(
    ("prompt", "completion", "answer"),
    [
        ("a", "fine", "fine"),
        ("a<think>\n", "reasons</think>fine", "fine"),
        ("a<think>\n", "reasons </think> more </think>\n\nfine", "\n\nfine"),
        ("a<think>\n", "reasons that do not end", None),
        ("a", "<think>reasons that do not end", None),
        ("a", "<think>reasons</think>fine", "fine"),
        ("a<think>\n\n</think>\n\n", "fine", "fine"),
        ("a<think>\n", "</think>", ""),
    ],
)
def test_the_answer_is_what_follows_the_reasoning(prompt, completion, answer):
    assert read_answer(prompt, completion) == answer


def test_reasoning_alone_earns_nothing():
    reward = reward_of(DOMAIN)
    assert score(reward, ["records", "so</think> records"], prompt="p<think>\n") == [0.0, 1.0]
    assert reward.books.judged == 1


@pytest.mark.parametrize(
    ("config", "answer", "guarded"),
    [
        ({"answer_chars": 8}, " records", False),
        ({"answer_chars": 7}, " records", True),
        ({"max_repetition": 0.5}, " records” " + "a b c d e f g h " * 2, False),
        ({"max_repetition": 0.5}, " records” " + "a b c d e f g h " * 4, True),
        ({}, " records” " + "a b c d e f g h " * 100, False),
    ],
)
def test_the_guard_against_long_and_repetitive_answers(config, answer, guarded):
    assert score(reward_of(DOMAIN, **config), [answer]) == [0.0 if guarded else 1.0]


@given(st.text())
def test_repetition_is_a_share(text):
    assert 0 <= measure_repetition(text) < 1
    assert measure_repetition("a b c d e f g h " * 2) == 1 - 8 / 9


def test_the_second_judge_is_asked_for_marked_rows_and_never_rewards():
    class Kind(Domain):
        async def judge(self, candidate, answer, seed):
            return judge(candidate.rubric, [True])

    reward = reward_of(DOMAIN, second=Kind(DomainConfig("skills"), client=None))
    assert score(reward, [" x", " x"], second=[True, False], set=["cot_test"] * 2) == [0.0, 0.0]
    assert reward.logged["cot_test/first_judge"] == [0.0]
    assert reward.logged["cot_test/second_judge"] == [1.0]


def test_a_judge_that_hangs_is_no_reward_after_the_deadline():
    class Slow(Domain):
        async def judge(self, candidate, answer, seed):
            await asyncio.sleep(60 if "slow" in answer else 0)
            return await super().judge(candidate, answer, seed)

    models = Models({"j": Endpoint("m", timeout_s=0.05)}, judge=RoleConfig("j", Sampling(max_tokens=10)))
    client = Client(models, None)
    client.accounts[Role.JUDGE].counts["completion_tokens"], client.busy._seconds = 10_000, 0.1
    reward = reward_of(Slow(DomainConfig("skills"), client=None), client)
    assert score(reward, [" records", " slow"]) == [1.0, None]


def test_judgements_of_a_step_run_at_once():
    running, most = 0, 0

    class Counting(Domain):
        async def judge(self, candidate, answer, seed):
            nonlocal running, most
            running, most = running + 1, max(most, running + 1)
            await asyncio.sleep(0.01)
            running -= 1
            return await super().judge(candidate, answer, seed)

    score(reward_of(Counting(DomainConfig("skills"), client=None)), [" records"] * 128)
    assert most == 128


@given(rows=st.integers(1, 20), epochs=st.integers(1, 5), seed=st.integers(0, 9))
def test_every_epoch_has_every_row_once_in_an_order_of_its_own(rows, epochs, seed):
    order = order_rows(rows, epochs, seed)
    parts = [order[i * rows : (i + 1) * rows] for i in range(epochs)]
    assert all(sorted(part) == list(range(rows)) for part in parts)
    assert order == order_rows(rows, epochs, seed)
    assert order_rows(50, 2, seed)[:50] != order_rows(50, 2, seed)[50:]


def example_with(*weak: float):
    return SimpleNamespace(weak_scores=weak)


@pytest.mark.parametrize(("bounds", "kept"), [([], 4), ([0.2, 0.5], 2), ([0.5, 0.5], 1), ([0.0, 1.0], 4)])
def test_the_pass_rate_filter_keeps_what_lies_within_its_bounds(bounds, kept):
    examples = [example_with(0.0, 0.2), example_with(0.2, 0.2), example_with(0.4, 0.6), example_with(0.6, 0.6)]
    assert len(choose_by_pass_rate(examples, bounds)) == kept


@pytest.mark.parametrize("bounds", [[0.5], [0.5, 0.2], [-0.1, 0.5], [0.1, 1.1]])
def test_pass_rates_that_are_none_are_an_error(bounds):
    with pytest.raises(RecipeError, match="two numbers between 0 and 1"):
        choose_by_pass_rate([], bounds)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({}, None),
        ({"eval_completions/clipped_ratio": 0.05}, None),
        ({"eval_completions/clipped_ratio": 0.06}, "6 % of the untrained model's completions are cut off"),
        ({"eval_frac_reward_zero_std": 0.8}, None),
        ({"eval_frac_reward_zero_std": 0.9}, "in 90 % of the groups all rewards are equal"),
        ({"eval_sampling/sampling_logp_difference/mean": 0.1}, None),
        ({"eval_sampling/sampling_logp_difference/mean": 0.2}, "differ by 0.200 nats per token"),
    ],
)
def test_what_the_probe_may_show(measured, message):
    good = {"eval_completions/clipped_ratio": 0.0, "eval_frac_reward_zero_std": 0.0, "eval_reward": 0.5}
    if message is None:
        check_probe(good | measured, PreflightConfig())
        return
    with pytest.raises(PreflightError, match=message):
        check_probe(good | measured, PreflightConfig())


@pytest.mark.parametrize(("logs", "error"), [
    ({"loss": 0.1}, None), ({"loss": math.nan}, "Diverged"), ({"grad_norm": math.inf}, "Diverged"),
    ({"sampling/sampling_logp_difference/mean": 0.5}, "PreflightError"),
])  # fmt: skip
def test_a_training_that_has_gone_wrong_is_stopped(tmp_path, logs, error):
    from autodata.training.callbacks import TrainingWatch

    watch, state = (
        TrainingWatch(tmp_path, PreflightConfig(), print),
        SimpleNamespace(global_step=7, is_world_process_zero=True),
    )
    if error is None:
        watch.on_log(None, state, None, logs)
        return
    with pytest.raises(UserError) as raised:
        watch.on_log(None, state, None, logs)
    assert type(raised.value).__name__ == error
    assert json.loads((tmp_path / "trainer_log.jsonl").read_text())["step"] == 7, "the entry that tells why is kept"


@pytest.mark.parametrize(("examples", "at_most", "watched"), [(2, None, 2), (2, 1, 1), (2, 0, 0), (0, None, 0)])
def test_only_a_set_without_examples_is_warned_of(monkeypatch, caplog, examples, at_most, watched):
    from autodata.training import trainer

    monkeypatch.setattr(trainer, "read_set", lambda dataset, name: [SimpleNamespace(arm="cot")] * examples)
    monkeypatch.setattr(trainer, "require_domain", lambda *_: None)
    monkeypatch.setattr(trainer, "make_rows", lambda chosen, *_: [{"prompt": one} for one in chosen])
    recipe = GrpoRecipe(dataset="runs/d", evaluate=["cot_test"], evaluate_examples=at_most)
    config = SimpleNamespace(
        eval_strategy="steps",
        eval_on_start=True,
        use_vllm=True,
        num_generations=8,
        num_generations_eval=3,
        world_size=1,
    )
    sets = trainer.Training._make_watched(SimpleNamespace(recipe=recipe, config=config), None)
    assert len(sets) == watched
    assert (config.eval_strategy, config.eval_on_start) == (("steps", True) if watched else ("no", False))
    assert ("runs/d has no examples of cot_test" in caplog.text) == (not examples)


@pytest.mark.parametrize(
    ("at_most", "taken"),
    [(None, [0, 1, 2, 3, 4]), (5, [0, 1, 2, 3, 4]), (4, [0, 1, 2, 3]), (2, [0, 2]), (1, [0]), (0, [])],
)
def test_the_examples_of_a_watched_set_are_spread_over_its_documents(at_most, taken):
    assert spread(range(5), at_most) == taken


MANIFEST = {"steps": 2, "reward_first_quarter": 0.1, "reward_last_quarter": 0.2, "failed_judgements": 0,
            "judgements": 8, "judged_over": {}, "packages": {}, "inputs": {"dataset": "abc"}}  # fmt: skip


@pytest.mark.parametrize(
    ("models", "judge_name", "reward"),
    [
        (Models({"j": Endpoint("m")}, judge=RoleConfig("j")), "m", "a language model's judgement"),
        (Models(), "none", "computed in code, by a rule"),
    ],
)
def test_the_card_says_where_the_reward_comes_from(models, judge_name, reward):
    card = write_card(MANIFEST, GrpoRecipe(model="owner/name", domain=DomainConfig("skills"), models=models))
    assert f"judge: {judge_name}." in card
    assert f"- The reward is {reward}: where it can be misled, the model learns to mislead it." in card
    assert card.count("The reward is") == 1


@pytest.mark.parametrize(
    ("lora", "sentence"),
    [
        ({}, "Trained: all weights of the language model."),
        ({"r": 4, "lora_alpha": 32, "target_modules": "all-linear"}, "LoRA adapters, r 4, alpha 32, on all-linear; "),
        ({"r": 4, "target_modules": ["v_proj", "q_proj"]}, "LoRA adapters, r 4, alpha 8, on q_proj, v_proj; merged"),
    ],
)
def test_the_card_says_what_was_trained(lora, sentence):
    assert sentence in write_card(MANIFEST, GrpoRecipe(model="owner/name", domain=DomainConfig("skills"), lora=lora))


def test_the_budget_of_calls_is_shared_by_all_processes():
    from autodata.serving.limits import divide_limits

    models = Models({"a": Endpoint("m", max_in_flight=100), "b": Endpoint("m"), "c": Endpoint("m", max_in_flight=2)})
    shared = divide_limits(models, 8).endpoints
    assert [shared[name].max_in_flight for name in "abc"] == [12, None, 1]
    assert models.endpoints["a"].max_in_flight == 100


def test_too_few_examples_are_refused_at_the_bound():
    candidate = CANDIDATE.validate_json(CANDIDATE_JSON)
    arm = Arm("agentic", "runs/a", (), DomainConfig("skills", weak_attempts=1, strong_attempts=1), {}, "h", "p")
    round = Round(1, candidate, None, (), (), Verdict(True))
    example = make_example(arm, Trajectory("d", "d", "agentic", "p", (round,), End.ACCEPTED), round, "unknown")
    require_examples([example] * 8, "min_examples", 8, "runs/d")
    with pytest.raises(TooFewExamples, match="runs/d: too few training examples: 7, fewer than min_examples=8"):
        require_examples([example] * 7, "min_examples", 8, "runs/d")


def test_as_many_examples_are_drawn_as_the_recipe_says():
    examples = list(range(100))
    drawn = draw_examples(examples, 20, 3, "runs/d")
    assert len(drawn) == 20 and drawn == sorted(set(drawn))
    assert drawn == draw_examples(examples, 20, 3, "runs/d") != draw_examples(examples, 20, 4, "runs/d")
    assert draw_examples(examples, None, 3, "runs/d") == draw_examples(examples, 100, 3, "runs/d") == examples


@pytest.mark.parametrize(("count", "error", "message"), [
    (101, TooFewExamples, "runs/d: too few training examples: 100, fewer than train_examples=101; .* lower train_ex"),
    (0, RecipeError, "train_examples=0: must be at least 1"),
])  # fmt: skip
def test_a_number_of_examples_that_cannot_be_drawn_names_the_key(count, error, message):
    with pytest.raises(error, match=message):
        draw_examples(range(100), count, 3, "runs/d")


def test_a_training_draws_from_what_the_pass_rate_keeps(tmp_path):
    """The weak solver's mean of every example is 0.5, so either all six pass or none."""
    from autodata.training.trainer import Training

    folder, config = make_dataset(tmp_path / "set", domain="skills"), SimpleNamespace(seed=3)

    def rows(**values: object) -> list[dict[str, str]]:
        recipe = GrpoRecipe(dataset=str(folder), domain=DomainConfig("skills"), min_examples=2, **values)
        return Training._make_rows(SimpleNamespace(recipe=recipe, config=config), lambda candidate: "prompt")

    assert [len(rows(train_examples=n)) for n in (None, 2, 6)] == [6, 2, 6]
    with pytest.raises(TooFewExamples, match="too few training examples: 0, fewer than train_examples=2"):
        rows(train_examples=2, pass_rate=[0.6, 1.0])
    with pytest.raises(TooFewExamples, match="too few training examples: 1, fewer than min_examples=2"):
        rows(train_examples=1)


# ── another data set for the watched sets ───────────────────────────────────────────────────


@pytest.fixture(scope="module")
def two_sets(tmp_path_factory):
    """Write a data set to train on and one to watch, with 2 and 5 held-out examples of each arm."""
    folder = tmp_path_factory.mktemp("sets")
    return [str(make_dataset(folder / f"set{n}", test=n, domain="skills")) for n in (2, 5)]


def watch(recipe: GrpoRecipe) -> list[dict[str, object]]:
    from autodata.training.trainer import Training

    names = ("eval_strategy", "eval_on_start", "use_vllm", "num_generations", "num_generations_eval", "world_size")
    config = SimpleNamespace(**dict(zip(names, ("steps", True, True, 8, 3, 1), strict=True)))
    return Training._make_watched(SimpleNamespace(recipe=recipe, config=config), lambda candidate: "prompt")


def test_watched_sets_may_come_from_another_data_set(two_sets):
    recipe = GrpoRecipe(dataset=two_sets[0], evaluate=["cot_test"], domain=DomainConfig("skills"))
    assert len(watch(recipe)) == 2
    assert len(watch(replace(recipe, evaluate_dataset=two_sets[1]))) == 5
    with pytest.raises(RecipeError, match=r"domain\.name=cs: the arm cot of .*set5 was made for skills"):
        watch(replace(recipe, evaluate_dataset=two_sets[1], domain=DomainConfig("cs")))


def test_both_data_sets_are_inputs_of_a_training(two_sets):
    from autodata.training.run import hash_datasets

    alone = hash_datasets(GrpoRecipe(dataset=two_sets[0]))
    both = hash_datasets(GrpoRecipe(dataset=two_sets[0], evaluate_dataset=two_sets[1]))
    assert alone.keys() == {"dataset"} and both.keys() == {"dataset", "evaluate_dataset"}
    assert both["dataset"] == alone["dataset"] != both["evaluate_dataset"]


@pytest.mark.parametrize(("inputs", "sentence"), [
    ({"dataset": "abc"}, "Data set: abc; commit: "),
    ({"dataset": "abc", "evaluate_dataset": "def"}, "Data set: abc; data set of the watched sets: def; commit: "),
])  # fmt: skip
def test_the_card_names_both_data_sets(inputs, sentence):
    recipe = GrpoRecipe(model="owner/name", domain=DomainConfig("skills"))
    assert sentence in write_card(MANIFEST | {"inputs": inputs}, recipe)


HISTORY = [
    {"step": 0, "eval_cot_test/cut_off": 0.5, "eval_cot_test/score": 0.2, "eval_cot_test/first_judge": 0.1,
     "eval_cot_test/second_judge": 0.3},
    *({"step": i, "reward": i / 10} for i in range(1, 6)),
    {"step": 4, "reward": 0.9},  # again, after a resume
    {"step": 5, "eval_cot_test/cut_off": 0.1, "eval_cot_test/score": 0.6},
]  # fmt: skip


def test_the_curve_is_a_picture_and_numbers(tmp_path: Path):
    from autodata.training.callbacks import write_curves

    write_curves(HISTORY, tmp_path)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    curves = json.loads((tmp_path / "curve.json").read_text())
    assert [(e["step"], e["reward"]) for e in curves["train"]] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.9), (5, 0.5)]
    assert [(p["step"], p["score"]) for p in curves["watched"]["cot_test"]] == [(0, 0.2), (5, 0.6)]


@pytest.mark.parametrize(
    ("dtype", "shards", "expected"),
    [
        ("float32", 1, 1000 * (4 + 4 + 8)),
        ("bfloat16", 1, 1000 * (2 + 2 + 8)),
        ("bfloat16", 8, 1000 * (2 + 2 + 12 / 8)),  # DeepSpeed shards its float32 weights too
    ],
)
def test_what_weights_gradients_and_optimizer_take(dtype, shards, expected):
    import torch

    model = torch.nn.Linear(100, 10, bias=False, dtype=getattr(torch, dtype))
    assert estimate_bytes(model, shards) == expected
    model.weight.requires_grad_(False)
    assert estimate_bytes(model, shards) == 1000 * model.weight.itemsize


def test_the_vision_tower_is_frozen_and_nothing_else():
    import torch

    model = torch.nn.ModuleDict({"visual": torch.nn.Linear(2, 2), "visualize": torch.nn.Linear(2, 2)})
    freeze_vision(model)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
