"""Tests plans of trainings: memory beside real tensors, rounds beside the laws of queues, hours beside a run."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.config import RecipeError
from autodata.plan.lengths import Lengths, assume, fit
from autodata.plan.plan import make_plan
from autodata.plan.simulation import Station
from autodata.plan.speed import ReplicaSpeed
from autodata.plan.training.course import EVALUATION, STEP, count_evaluations, count_steps, simulate_course
from autodata.plan.training.memory import estimate_memory
from autodata.plan.training.shape import ModelShape, read_shape
from autodata.plan.training.steps import STUDENT, Setting, estimate_update
from autodata.recipes.training import GrpoRecipe
from autodata.run.folder import Run
from tests.helpers.commands import options, plan
from tests.helpers.recipes import MODELS, ON_CPU, load_committed
from tests.helpers.training_world import make_dataset

pytestmark = pytest.mark.slow

PAPER, LORA = "recipes/models/paper.yaml", "recipes/training/one_gpu.yaml"
CS = ("recipes/cs/grpo.yaml", PAPER)
# The demo's recipe with the sizes that these tests count with.
DEMO = ("recipes/demo/grpo.yaml", "prompts_per_step=1", "trainer.per_device_train_batch_size=8",
        "trainer.max_steps=32", "trainer.save_steps=16", "trainer.eval_steps=16",
        "trainer.num_generations_eval=3")  # fmt: skip
RECIPES = sorted(str(path) for path in Path("recipes").glob("*/grpo*.yaml"))
SHAPE = ModelShape("tiny", 1000, 1000, 0, 1000, 8, 2, 100, 50, 16, 8)
__all__ = ["plan"]  # a fixture
SPEED = ReplicaSpeed(0.0, 0.01, 0.0)  # a token takes 0.01 s, however many requests there are
GB = 1e9


def recipe(*changes: str) -> GrpoRecipe:
    return load_committed(*CS, *changes)


def setting(recipe: GrpoRecipe, lengths: Lengths, processes: int = 8, **stations: Station) -> Setting:
    quick = {"kimi": Station(ReplicaSpeed(0, 0, 1e-9), 1, 64)}
    stations = {STUDENT: Station(SPEED, processes, 10_000), **quick, **stations}
    return Setting(recipe, SHAPE, processes, lengths, stations, {})


@pytest.fixture
def demo_run(tmp_path, sizes) -> Path:
    """Write a finished training of the demo: 32 steps of 4 s, three evaluations of 6 s, 200 s in all."""
    made = load_committed(*DEMO, sizes, f"run={tmp_path / 'run'}")
    step = {"step_time": 4.0, "reward": 0.5, "completions/mean_length": 5.0, "completions/max_length": 8.0,
            "completions/clipped_ratio": 0.25}  # fmt: skip
    log = [{"eval_runtime": 6.0}] * 3 + [{"eval_probe_runtime": 9.0}]
    with Run(made.run, "grpo", made, {}) as run:
        run.start()
        run.write("curve.json", json.dumps({"train": [{**step, "step": i + 1} for i in range(32)], "watched": {}}))
        run.write("checkpoints/checkpoint-32/trainer_state.json", json.dumps({"log_history": log}))
        run.write("checkpoints/checkpoint-8/trainer_state.json", json.dumps({"log_history": log[:1]}))
        run.note(judged_over={"processes": 1}, elapsed_s=200.0)
        run.finish([])
    return tmp_path / "run"


@pytest.fixture(scope="module")
def sizes(tmp_path_factory) -> str:
    """Write the data set of the demo: six examples of each set."""
    return f"dataset={make_dataset(tmp_path_factory.mktemp('data') / 'set', 6, 6, 'skills')}"


# ── memory ──────────────────────────────────────────────────────────────────────────────────


def test_the_shape_of_qwen_is_the_one_of_its_configuration():
    shape = read_shape("Qwen/Qwen3.5-4B", {})
    assert (shape.parameters, shape.trained) == (4_539_265_536, 4_205_751_296)
    assert shape.cached_values * 2 == 32_768  # bytes of a token: 72 GiB held 2.3 million tokens on an H200


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    from transformers import Qwen3_5ForConditionalGeneration

    from autodata.training.weights.student import freeze_vision
    from tests.helpers.training_world import make_qwen

    folder = make_qwen(tmp_path_factory.mktemp("qwen"))

    def load(dtype: str) -> Qwen3_5ForConditionalGeneration:
        model = Qwen3_5ForConditionalGeneration.from_pretrained(folder, dtype=dtype)
        freeze_vision(model)
        return model

    return folder, load


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_process_holds_what_is_predicted(qwen, dtype):
    folder, load = qwen
    model = load(dtype)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moments = [s[key] for s in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
    held = estimate_memory(recipe(f"trainer.model_init_kwargs.dtype={dtype}"), read_shape(str(folder), {}), 1).held
    assert held == {
        "weights": sum(p.nbytes for p in model.parameters()),
        "gradients": sum(p.grad.nbytes for p in trained),
        "moments of AdamW": sum(m.nbytes for m in moments),
    }


def test_adapters_hold_what_is_predicted(qwen):
    from peft import LoraConfig, get_peft_model

    folder, load = qwen
    lora = {"r": 4, "target_modules": "all-linear", "exclude_modules": r".*visual.*"}
    model = get_peft_model(load("bfloat16"), LoraConfig(**lora))
    adapters = [p for p in model.parameters() if p.requires_grad]
    held = estimate_memory(recipe(), read_shape(str(folder), lora), 1).held
    assert {p.dtype for p in adapters} == {torch.float32}
    assert held["adapters"] == sum(p.nbytes for p in adapters)
    assert held["weights"] + held["adapters"] == sum(p.nbytes for p in model.parameters())
    assert held["moments of AdamW"] == 2 * held["gradients"] == 2 * held["adapters"]


def test_zero_2_shards_sixteen_bytes_of_each_trained_weight():
    held = {n: estimate_memory(recipe(), SHAPE, n).held for n in (2, 8)}
    for processes, parts in held.items():
        sharded = parts["gradients"] + parts["float32 weights"] + parts["moments of AdamW"]
        assert sharded == pytest.approx(16 * SHAPE.trained / processes)
        assert parts["weights"] == 2 * SHAPE.parameters


@pytest.mark.parametrize(("checkpoints", "part"), [(True, "inputs of the layers"), (False, "values inside a layer")])
def test_a_forward_pass_keeps_the_predicted_activations(tmp_path, checkpoints, part):
    """The measured bytes hold norms and rotations too, which the prediction leaves out."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=64, hidden_size=128, intermediate_size=384, num_hidden_layers=12,
                         num_attention_heads=4, num_key_value_heads=2)  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path)
    if checkpoints:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    kept = {p.untyped_storage().data_ptr(): 0 for p in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        tensors.append(tensor)  # so that no address is used twice
        return tensor

    tensors: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.model(torch.randint(0, 64, (1, 512)))
    changes = ["trainer.model_init_kwargs.dtype=float32", f"trainer.gradient_checkpointing={str(checkpoints).lower()}"]
    sized = recipe(*changes, "trainer.vllm_max_model_length=512")
    assert sum(kept.values()) == pytest.approx(
        estimate_memory(sized, read_shape(str(tmp_path), {}), 1).passing[part], rel=0.25
    )


@pytest.mark.parametrize(("changes", "sleeps", "share"), [
    ((), True, 0.5),
    (("trainer.vllm_enable_sleep_mode=false",), False, 0.5),
    (("trainer.vllm_mode=server",), True, 0.0),
    (("trainer.use_vllm=false",), True, 0.0),
])  # fmt: skip
def test_vllm_has_its_share_while_it_runs_beside_the_trainer(changes, sleeps, share):
    memory = estimate_memory(recipe(*changes), SHAPE, 8)
    rest = memory.updating(0)
    assert memory.sampling(80 * GB) - memory.sampling(0) == pytest.approx(share * 80 * GB)
    assert memory.updating(80 * GB) - rest == pytest.approx(0 if sleeps else share * 80 * GB)


def test_a_training_fits_up_to_the_last_byte():
    memory = estimate_memory(recipe("trainer.vllm_gpu_memory_utilization=0.001"), SHAPE, 8)
    needed = memory.updating(0)
    assert memory.fits(needed)
    assert not memory.fits(needed - 1)


# ── lengths and rounds ──────────────────────────────────────────────────────────────────────


@settings(max_examples=30, deadline=None)
@given(st.floats(10, 1e5), st.floats(0.05, 2), st.floats(10, 1e5))
def test_the_mean_and_the_share_cut_off_are_those_of_the_draws(median, spread, most):
    lengths, rng = Lengths(median, spread, most), random.Random(0)
    drawn = [lengths.draw(rng) for _ in range(4000)]
    assert max(drawn) <= most
    assert lengths.mean == pytest.approx(fmean(drawn), rel=0.15)
    assert lengths.cut_off == pytest.approx(fmean(d == most for d in drawn), abs=0.03)


@pytest.mark.parametrize(("domain", "share"), [("science", 0.24), ("cs", 0.05)])
def test_priors_cut_off_the_papers_share(domain, share):
    assert assume(domain, 65_536).cut_off == pytest.approx(share)


@given(st.floats(0.01, 0.99), st.floats(0.05, 2.5))
def test_a_fit_finds_the_lengths_that_were_measured(share, spread):
    true = fit(1.0, 1000, share, 1000)  # any mean below what is possible gives the widest lengths
    assert true.spread == pytest.approx(3.0, abs=0.01)
    wanted = Lengths(1000 / 2.718**spread, spread, 1000)
    found = fit(wanted.mean, 1000, wanted.cut_off, 1000)
    assert found.mean == pytest.approx(wanted.mean, rel=0.02)


def test_the_slowest_completion_ends_a_round():
    longest = Lengths(1e9, 0.1, 100)  # all are cut off
    assert setting(recipe(), longest).play(16, 8, random.Random(0)).sampling == pytest.approx(100 * 0.01)
    spread = setting(recipe(), Lengths(50, 1.0, 100)).play(16, 8, random.Random(0))
    assert spread.sampling == pytest.approx(1.0)  # one of 128 is cut off
    assert spread.tokens < 128 * 800


@pytest.mark.parametrize(("changes", "early"), [
    ((), True),
    (("trainer.vllm_mode=server",), False),
    (("trainer.use_vllm=false",), False),
    (("trainer.vllm_tensor_parallel_size=2",), False),
])  # fmt: skip
def test_early_judgements_hide_behind_sampling(changes, early):
    made = recipe(*changes)
    one_at_a_time = Station(ReplicaSpeed(0, 1e-6, 0), 1, 1)  # a judgement takes 0.003 s
    case = setting(made, Lengths(20, 0.5, 10_000), kimi=one_at_a_time)
    assert case.judges_early is early
    waited = case.play(16, 8, random.Random(0)).judging
    assert waited < 0.02 if early else waited == pytest.approx(128 * 0.003)


def test_a_domain_without_a_judge_waits_for_none():
    case = setting(load_committed(*DEMO), Lengths(5, 0.1, 6), processes=1)
    assert case.play(4, 8, random.Random(0)).judging == 0


def test_an_update_grows_with_tokens_and_shrinks_with_processes():
    one, two, eight = (estimate_update(recipe(), SHAPE, n, [100.0] * 128) for n in (1, 2, 8))
    assert one == pytest.approx(2 * two) == pytest.approx(8 * eight)
    assert estimate_update(recipe(), SHAPE, 8, [200.0] * 128) > 2 * eight  # attention
    # One long sequence of eight holds up all processes.
    assert estimate_update(recipe(), SHAPE, 8, [100.0] * 120 + [200.0] + [100.0] * 7) > eight


@pytest.mark.parametrize(("changes", "passes"), [
    ((), 5),
    (("trainer.gradient_checkpointing=false",), 4),
    (("trainer.vllm_importance_sampling_correction=false",), 4),
    (("trainer.use_vllm=false",), 4),
])  # fmt: skip
def test_the_passes_of_an_update_are_counted(changes, passes):
    five = estimate_update(recipe(), SHAPE, 8, [100.0] * 8)
    assert estimate_update(recipe(*changes), SHAPE, 8, [100.0] * 8) == pytest.approx(five * passes / 5)


def test_frozen_weights_save_a_pass():
    adapted = replace(SHAPE, trained=0, adapters=10)
    full, lora = (estimate_update(recipe(), shape, 8, [100.0] * 8) for shape in (SHAPE, adapted))
    assert lora == pytest.approx(full * 4 / 5)


@pytest.mark.parametrize(("changes", "count"), [
    ((), 13),
    (("trainer.eval_on_start=false",), 12),
    (("trainer.max_steps=239",), 12),
    (("evaluate=[]",), 0),
    (("trainer.eval_strategy='no'",), 0),
])  # fmt: skip
def test_evaluations_are_counted(changes, count):
    assert count_evaluations(recipe(*changes)) == count


# ── whole plans ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("models", ["paper", "one_gpu"])
@pytest.mark.parametrize("path", [path for path in RECIPES if not path.startswith(ON_CPU)])
def test_every_training_of_the_repository_can_be_planned(path, models):
    made = make_plan(load_committed(path, *MODELS[models]), options())
    rows = made.summarize(None)
    assert "unmeasured" in rows["hours from"]
    assert sum(part.total for part in made.course.parts) == pytest.approx(made.course.seconds)
    assert made.memory.fits(80 * GB)
    assert made.show("recipe")


@pytest.mark.parametrize("path", [path for path in RECIPES if path.startswith(ON_CPU)])
def test_a_training_on_the_cpu_holds_no_gpu_and_its_hours_are_assumed(path):
    made = make_plan(load_committed(path), options())
    rows = made.summarize(None)
    assert "unmeasured" in rows["hours from"]
    assert rows["GPU-hours held"] == "0.00"
    assert 60 < made.course.seconds < 86400


def test_adapters_train_on_one_gpu_by_default():
    made = make_plan(load_committed(*CS, LORA), options())
    assert made.gpus == {"training": 1, "kimi": 8}
    assert make_plan(recipe(), options()).gpus == {"training": 8, "kimi": 8}
    assert make_plan(recipe("trainer.vllm_mode=server"), options()).gpus == {
        "training": 8,
        "vLLM server": 1,
        "kimi": 8,
    }


def test_one_process_without_float32_weights_is_warned_of():
    assert "small updates are lost" in make_plan(recipe(), options(gpus=1)).summarize(None)["weights"]
    assert "small updates are lost" not in make_plan(recipe(), options(gpus=2)).summarize(None)["weights"]
    assert "small updates are lost" not in make_plan(load_committed(*CS, LORA), options()).summarize(None)["weights"]


def test_a_plan_of_the_same_training_is_what_was_measured(plan, demo_run, sizes):
    out = plan(*DEMO, sizes, "--like", demo_run, "--what-if", "trainer.max_steps=64")
    # 32 more steps of 4 s, two more evaluations of 6 s, and two more checkpoints.
    assert re.search(r"wall-clock +│ 3 min 20 s +│ 5 min 4\d s", out)
    assert re.search(r"evaluation +│ 6\.0 +│ 3 +│", out)
    assert re.search(r"tokens, 25 % cut off at 8", out)


def test_a_run_whose_data_set_is_elsewhere_has_the_sizes_of_the_recipe(demo_run, sizes):
    recipe = demo_run / "recipe.yaml"
    recipe.write_text(re.sub(r"^dataset: .*$", "dataset: /elsewhere", recipe.read_text(), flags=re.MULTILINE))
    made = make_plan(load_committed(*DEMO, sizes), options(like=demo_run))
    assert made.course.total(EVALUATION) == pytest.approx(18.0)


def test_watched_sets_of_another_data_set_have_its_sizes(demo_run, sizes, tmp_path):
    other = f"evaluate_dataset={make_dataset(tmp_path / 'other', 6, 60, 'skills')}"
    alone, apart = (make_plan(load_committed(*DEMO, sizes, *more), options(like=demo_run)) for more in ((), (other,)))
    assert (alone.setting.sizes, apart.setting.sizes) == ({"cot_test": 6}, {"cot_test": 60})
    assert apart.course.total(EVALUATION) > alone.course.total(EVALUATION)


@pytest.mark.parametrize(("changes", "shown"), [
    ((), "6, 5.3 passes over them"), (("train_examples=6",), "6, 5.3"), (("train_examples=4",), "4, 8.0 passes"),
    (("pass_rate=[0.6,1.0]",), "–"), (("dataset=/elsewhere", "evaluate=[]"), "–"),
    (("dataset=/elsewhere", "evaluate=[]", "train_examples=64"), "64, 0.5 passes"),
])  # fmt: skip
def test_a_plan_counts_the_examples_that_are_trained_on(demo_run, sizes, changes, shown):
    """There are 32 steps of one prompt. The weak solver's mean of every example is 0.5."""
    made = make_plan(load_committed(*DEMO, sizes, *changes), options(like=demo_run))
    assert made.summarize(None)["examples"].startswith(shown)


def test_a_plan_with_more_examples_than_there_are_is_refused(plan, demo_run, sizes):
    out = plan(*DEMO, sizes, "train_examples=7", "--like", demo_run)
    assert "too few training examples: 6, fewer than train_examples=7" in out


def test_measured_groups_scale_apart(demo_run, sizes):
    made = make_plan(load_committed(*DEMO, sizes), options(like=demo_run))
    assert made.course.total(STEP) == pytest.approx(32 * 4.0)
    assert made.course.total(EVALUATION) == pytest.approx(18.0)
    assert made.gpus == {"training": 0}
    assert made.summarize(None)["memory of a GPU"] == "–"
    assert len(made.show("recipe")) == 2  # no memory of a GPU


@pytest.mark.parametrize(("arguments", "message"), [
    ([*CS, "--gpus", 7], "do not divide among 7 processes"),
    ([*CS, "--accepted", 3], "--accepted 3: only documents of a generation are accepted"),
    ([*CS, "--documents", 3], "--documents 3: a training has steps; set trainer.max_steps"),
    ([*CS, "trainer.max_steps=null"], "trainer.max_steps: set it"),
    ([*CS, "model=owner/unknown"], "model=owner/unknown: its shape is not known on this machine"),
    ([*CS, "trainer.model_init_kwargs.dtype=int3"], "trainer.model_init_kwargs.dtype=int3: choose one of"),
    ([*CS, "--speed", "large=1,1,1"], "--speed large=…: the recipe uses no such endpoint; it uses student, kimi"),
    ([*CS, "--like", "runs/none"], "runs/none: no such run"),
    (["recipes/cs/dataset.yaml"], "a recipe that calls no model, or audits a judge, cannot be planned"),
])  # fmt: skip
def test_what_cannot_be_planned_says_why(plan, arguments, message):
    assert message in plan(*arguments)


def test_a_run_of_another_domain_is_refused(plan, demo_run):
    assert "it has domain.name=skills, the recipe has cs" in plan(*CS, "--like", demo_run)


def test_a_stated_speed_of_the_student_is_used(plan):
    assert re.search(r"student +│ 8 +│ 1 +│ [^│]*│ 200, [^│]*│ stated", plan(*CS, "--speed", "student=1000,200,10"))


@pytest.mark.parametrize(("changes", "processes", "calls"), [
    ((), 8, 512),
    ((), 1, 64),
    (("models.endpoints.kimi.max_in_flight=100",), 8, 100),
])  # fmt: skip
def test_processes_share_the_calls_that_a_recipe_allows(changes, processes, calls):
    """`training.trainer.share_budget` divides max_in_flight; without it each process has a client's own 64."""
    made = make_plan(recipe("evaluate=[]", *changes), options(gpus=processes))
    assert made.setting.stations["kimi"].max_in_flight == calls


def test_repeats_average_the_rounds():
    case = setting(recipe("evaluate=[]", "preflight.probe=0"), Lengths(50, 1.0, 100), kimi=Station(SPEED, 1, 64))
    single, many = (simulate_course(case, repeats).tokens for repeats in (1, 20))
    assert single == pytest.approx(many, rel=0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["trainer.eval_strategy=epoch"], "trainer.eval_strategy=epoch: only `steps` and `no` can be planned"),
        (["evaluate=[cot_dev]"], "cot_dev: no such set; its name must be, or end in, one of train, test"),
        (["trainer.max_steps=0"], "set it to a number above 0"),
        (["lora={r: 4, target_modules: [nope]}"], r"lora.target_modules=\['nope'\]: no linear layer of the model"),
    ],
)
def test_what_cannot_be_planned_is_said(changes, message):
    with pytest.raises(RecipeError, match=message):
        make_plan(recipe(*changes), options())


def test_a_share_of_the_steps_is_counted_as_transformers_does():
    assert count_evaluations(recipe("trainer.eval_steps=0.5", "trainer.eval_on_start=false")) == 2
    assert [count_steps(value, 240) for value in (20, 0.1, 0.001)] == [20, 24, 1]


@pytest.mark.parametrize(("share", "fits"), [(0.05, False), (0.12, True), (0.5, True)])
def test_a_share_that_cannot_hold_the_weights_does_not_fit(share, fits):
    memory = estimate_memory(
        recipe(f"trainer.vllm_gpu_memory_utilization={share}"), read_shape("Qwen/Qwen3.5-4B", {}), 8
    )
    assert memory.fits(80e9) == memory.engine_fits(80e9) == fits
