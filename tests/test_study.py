"""Tests the analysis of a study, from run folders and from CSV files."""

import csv
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from autodata.config import RecipeError, load
from autodata.data.examples import EXAMPLES
from autodata.eval.sampled_answers import ANSWERS, SAMPLED_ANSWER, SampledAnswer
from autodata.eval.study import rows as files
from autodata.eval.study.estimates import Study, compare, estimate_accuracy, measure_skills
from autodata.eval.study.power import write_power
from autodata.eval.study.rows import UNTRAINED, Cost, CurvePoint, Score, StudyRows, read_rows, write_rows
from autodata.eval.study.write import analyse
from autodata.recipes.evaluation import StudyRecipe
from autodata.run.records import NoSuchRun, RunError
from autodata.types import EXAMPLE, Candidate, Outcome
from tests.helpers.recipes import REPO
from tests.helpers.training_world import make_dataset

pytestmark = pytest.mark.slow

RECIPE = "recipes/study/analysis.yaml"
GAINS = {"cot": 0.0, "best_of_n": 0.02, "pass_rate": 0.1, "agentic": 0.2}
FILES = ("results.md", "skills.csv", "curves.png", "skills.png", "tokens.png")


def make_rows(seeds: int = 5, documents: int = 20, gains: dict[str, float] = GAINS) -> StudyRows:
    """Make the numbers of a study in which each arm's accuracy is 0.3 and its gain; the untrained model has 0.2."""
    chance, rows = random.Random(0), StudyRows([], [], [])

    def add(seed: int | None, arm: str, accuracy: float) -> None:
        for number in range(documents * 10):
            names = (f"document {number // 10:02}", f"question {number:03}", f"skill {number % 4}", "1")
            rows.scores.append(Score(seed, arm, *names, 1, float(chance.random() < accuracy)))

    add(None, UNTRAINED, 0.2)
    for seed in range(seeds):
        for number, (arm, gain) in enumerate(gains.items(), 1):
            add(seed, arm, 0.3 + gain + chance.gauss(0, 0.01))
            rows.curves.extend(CurvePoint(seed, arm, step, 0.2 + gain * step / 60, 50) for step in (0, 30, 60))
            by_role = {"challenger": 1000 * number + seed, "weak_solver": 2000}
            rows.costs.append(Cost(seed, arm, 64, sum(by_role.values()), 90.5, 0.5, by_role))
    return rows


def load_recipe(folder: Path, *values: str) -> StudyRecipe:
    return load(StudyRecipe, [RECIPE, f"runs={folder}", f"output={folder}/analysis", *values])


def analyse_rows(rows: StudyRows, folder: Path, *values: str) -> str:
    write_rows(rows, folder / "rows")
    return analyse(load_recipe(folder, f"scores=[{folder}/rows]", *values))


def read_table(text: str, number: int = 0) -> dict[str, list[str]]:
    """Read the table with this number: its rows by their first cell."""
    lines = re.split(r"\n(?:\|---)+\|\n", text)[number + 1].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def reanalyse(folder: Path, output: Path) -> dict[str, bytes]:
    """Analyse the CSV files of a folder once more; return the content of every file with results."""
    analyse(load(StudyRecipe, [RECIPE, f"scores=[{folder}]", f"output={output}"]))
    return {name: (output / name).read_bytes() for name in FILES}


def test_a_known_effect_is_found_and_none_where_there_is_none(tmp_path):
    study = Study(make_rows().scores, list(GAINS), range(5))
    effect, none = compare(study, "cot", "agentic"), compare(study, "cot", "best_of_n")
    assert effect.estimate.low < 0.2 < effect.estimate.high
    assert effect.p < 0.0001
    assert none.estimate.low < 0 < none.estimate.high
    assert none.p > 0.05
    gain = compare(study, UNTRAINED, "cot")
    assert gain.estimate.low < 0.1 < gain.estimate.high
    assert (gain.spread.seeds, gain.spread.documents) == (5, 20), "the arm's seeds, although untrained has none"


def test_the_untrained_model_has_an_interval_over_documents():
    study = Study(make_rows().scores, list(GAINS), range(5))
    accuracy = estimate_accuracy(study, UNTRAINED)
    assert (accuracy.spread.seeds, accuracy.spread.documents) == (1, 20)
    assert accuracy.estimate.low < 0.2 < accuracy.estimate.high


def test_differences_are_paired_by_seed_and_question():
    def score(seed: int, arm: str, question: str, value: float | None) -> Score:
        return Score(seed, arm, question[0], question, "", "", 1, value)

    # The seeds are worlds apart, but on every question both arms have, b is better by 0.1.
    scores = [
        score(s, arm, q, s / 2 + gain) for s in (0, 1) for arm, gain in (("a", 0.0), ("b", 0.1)) for q in ("x1", "y1")
    ]
    scores += [score(0, "a", "x2", 1.0), score(0, "b", "x2", None)]
    study = Study(scores, ["a", "b"], [0, 1])
    assert [change for *_, change in study.list_changes("a", "b")] == pytest.approx([0.1] * 4), "x2 has one score only"
    assert compare(study, "a", "b").estimate.value == pytest.approx(0.1)
    assert compare(study, "b", "a").estimate.value == pytest.approx(-0.1)


def test_only_seeds_that_all_measured_arms_have_count():
    scores = [s for s in make_rows(3).scores if (s.arm, s.seed) not in (("cot", 1), ("agentic", 2))]
    study = Study(scores, list(GAINS), range(4))
    assert study.seeds == [0]
    assert study.list_missing("cot") == [1, 3]
    without = Study([s for s in scores if s.arm != "agentic"], list(GAINS), range(3))
    assert without.seeds == [0, 2], "an arm without any run does not count"


def test_the_tables_show_accuracy_costs_and_differences(tmp_path):
    text = analyse_rows(make_rows(), tmp_path)
    table = read_table(text)
    assert list(table) == [UNTRAINED, "CoT", "best of N", "pass rate", "agentic"]
    assert table[UNTRAINED][:4] == ["–"] * 4
    assert table["agentic"][:4] == ["64", "6,002", "1 min 30 s", "50 %"], "the mean of five seeds"
    accuracy, low, high = map(float, re.findall(r"[\d.]+", table["agentic"][4]))
    assert low < 0.5 < high
    assert table["agentic"][5].startswith(f"+{accuracy - float(table[UNTRAINED][4].split()[0]):.3f} [")
    assert table["agentic"][6].endswith("p < 0.0001")
    assert table["CoT"][6] == "–", "the baseline is not compared with itself"
    assert len(read_table(text, 1)) == 6, "all pairs of four arms"
    assert "Means over 5 seeds (0, 1, 2, 3, 4), 200 questions of 20 documents and 1 answer to a question" in text
    assert "no finished evaluation" not in text


def test_missing_arms_and_seeds_are_dashes_with_their_command(tmp_path):
    gains = {arm: gain for arm, gain in GAINS.items() if arm != "agentic"}
    rows = make_rows(2, gains=gains)
    text = analyse_rows(rows, tmp_path)
    assert read_table(text)["agentic"] == ["–"] * 7
    assert "- agentic: no finished evaluation of any seed; make it with `make study`" in text
    assert "- CoT: no finished evaluation of seed 2, 3, 4; make it with `make study`" in text
    assert len(read_table(text, 1)) == 3


def test_without_any_run_everything_is_a_dash(tmp_path):
    text = analyse(load_recipe(tmp_path))
    assert all(row == ["–"] * 7 for row in read_table(text).values())
    assert "- untrained: no finished evaluation" in text
    assert not list((tmp_path / "analysis").glob("*.png"))


def test_one_seed_has_intervals_over_documents_and_says_so(tmp_path):
    text = analyse_rows(make_rows(1), tmp_path)
    assert "Means over 1 seed (0)" in text
    assert "intervals over documents, because there is one seed" in text
    assert "[" in read_table(text)["agentic"][4]


def test_files_that_are_read_and_written_again_are_the_same(tmp_path):
    rows = make_rows(2)
    rows.scores.append(Score(0, "cot", "document 00", "question, with a comma", "", "", 0, None))
    rows.scores.append(Score(0, "cot", "document 00", "question of three answers", "skill 0", "2", 3, 2 / 3))
    rows.costs[0] = replace(rows.costs[0], examples=None, tokens=None, training_seconds=None, by_role={})
    write_rows(rows, tmp_path / "one")
    write_rows(read_rows(tmp_path / "one"), tmp_path / "two")
    for name in ("scores.csv", "curves.csv", "costs.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    again = read_rows(tmp_path / "one")
    assert rows.costs[0] in again.costs
    assert again.scores[0].seed is None, "the untrained model comes first"


def test_an_analysis_of_its_own_files_gives_the_same_files(tmp_path):
    analyse_rows(make_rows(3), tmp_path)
    first = {name: (tmp_path / "analysis" / name).read_bytes() for name in FILES}
    assert reanalyse(tmp_path / "rows", tmp_path / "again") == first


def test_a_large_file_is_compressed_in_the_same_way_every_time(tmp_path, monkeypatch):
    rows = make_rows(2)
    write_rows(rows, tmp_path)
    monkeypatch.setattr(files, "_LARGEST", 10_000)
    packed = []
    for _ in range(2):
        write_rows(rows, tmp_path)
        packed.append((tmp_path / "scores.csv.gz").read_bytes())
    assert packed[0] == packed[1]
    assert not (tmp_path / "scores.csv").exists(), "there is only one file of scores"
    assert (tmp_path / "costs.csv").exists()
    assert len(read_rows(tmp_path).scores) == len(rows.scores)
    monkeypatch.setattr(files, "_LARGEST", 10_000_000)
    write_rows(rows, tmp_path)
    assert not (tmp_path / "scores.csv.gz").exists()


def test_folders_without_scores_and_damaged_files_are_errors(tmp_path):
    with pytest.raises(NoSuchRun, match=r"no scores\.csv; make it with"):
        read_rows(tmp_path)
    (tmp_path / "scores.csv").write_text(
        "seed,arm,document,question,skill,difficulty,samples,score\n0,a,d,q,s,1,x,1\n"
    )
    with pytest.raises(RunError, match=r"scores\.csv: damaged \(ValueError"):
        read_rows(tmp_path)
    (tmp_path / "scores.csv").write_text("seed,arm\n0,a\n")
    with pytest.raises(RunError, match="damaged"):
        read_rows(tmp_path)


def test_skills_are_sorted_by_the_untrained_model(tmp_path):
    rates = {"hard": 0.0, "easy": 0.75, "middle": 0.5}
    scores = [
        Score(seed, arm, "d", f"{skill} {n}", skill, "1", 1, float(n < 4 * rate))
        for seed, arm in ((None, UNTRAINED), (0, "cot"))
        for skill, rate in rates.items()
        for n in range(4)
    ]
    skills = measure_skills(Study(scores, ["cot", "agentic"], [0]))
    assert [skill.name for skill in skills] == ["easy", "middle", "hard"]
    assert skills[0].questions == 4
    assert skills[0].accuracy == {UNTRAINED: 0.75, "cot": 0.75}
    analyse_rows(StudyRows(scores, [], []), tmp_path)
    lines = list(csv.reader((tmp_path / "analysis" / "skills.csv").open()))
    assert lines[:2] == [["skill", "questions", "untrained", "cot"], ["easy", "4", "0.7500", "0.7500"]]


def test_the_power_of_a_design_comes_from_the_pilots_own_seeds(tmp_path):
    pilot = make_rows(3)
    pilot.scores[:] = [s if s.seed is None else replace(s, seed=s.seed + 100) for s in pilot.scores]
    write_rows(pilot, tmp_path)
    text = write_power(load_recipe(tmp_path, "power_seeds=[3,10]", "power_documents=[20]"), tmp_path)
    cells = read_table(text)["agentic − CoT"]
    assert float(cells[3]) > float(cells[4]) > 0, "ten seeds find a smaller difference than three"
    assert "a pilot of 3 seeds and 20 documents" in text
    stored = json.loads((tmp_path / "analysis" / "power.json").read_text())
    assert stored["seeds"] == [100, 101, 102]
    assert {finding["seeds"] for finding in stored["smallest"]} == {3, 10}
    assert (tmp_path / "analysis" / "power.md").read_text() == text


def test_the_published_power_comes_from_the_published_scores_of_the_pilot(tmp_path):
    published = REPO / "docs/study/pilot"
    text = write_power(load(StudyRecipe, [RECIPE, f"pilot={published}", f"output={tmp_path}"]), published)
    assert text == (published / "power.md").read_text()


@pytest.mark.parametrize(
    ("recipe", "folder", "arms"),
    [(RECIPE, "study", 5), ("recipes/study/analysis_refreshed.yaml", "study/refreshed", 3)],
)
def test_the_published_results_come_from_the_published_scores(tmp_path, recipe, folder, arms):
    published = REPO / "docs" / folder
    seeds = sorted({score.seed for score in read_rows(published).scores if score.seed is not None})
    analyse(load(StudyRecipe, [recipe, f"scores=[{published}]", f"output={tmp_path}", f"seeds={seeds}"]))
    for name in ("results.md", "skills.csv"):
        assert (tmp_path / name).read_text() == (published / name).read_text()
    page = (REPO / "docs/study.md").read_text()
    rows = [line for line in (tmp_path / "results.md").read_text().splitlines() if line.startswith("|")]
    assert len(rows) > arms and all(row in page for row in rows), "the page shows the numbers of the analysis"


def test_a_pilot_of_one_seed_has_no_power(tmp_path):
    write_rows(make_rows(1), tmp_path)
    with pytest.raises(RunError, match="needs two seeds"):
        write_power(load_recipe(tmp_path, f"pilot={tmp_path}"), tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("seeds=[]", "seeds and arms: name at least one"),
        ("seeds=[1,1]", "1 is named twice"),
        ("baseline=other", "baseline=other: not among the arms"),
        ("power_seeds=[1]", "at least two of each"),
    ],
)
def test_a_study_that_cannot_be_analysed_is_an_error(tmp_path, value, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(tmp_path, value)


@pytest.fixture
def runs(tmp_path) -> Path:
    """Write finished runs of one seed and one arm, and an unfinished evaluation of another arm."""
    make_dataset(tmp_path / "some")
    example = EXAMPLE.validate_json((tmp_path / "some" / EXAMPLES).read_text().splitlines()[0])
    examples = []
    for number in range(4):
        candidate = Candidate(f"{number}?", "a", (), labels={"skill": f"skill {number % 2}", "difficulty": number})
        examples.append(replace(example, id=f"q{number}", document_id=f"d{number // 2}", arm="cot", split="test",
                                candidate=candidate))  # fmt: skip
    write_finished(tmp_path / "heldout", {EXAMPLES: [EXAMPLE.dump_json(e).decode() for e in examples]})
    write_evaluation(tmp_path / "eval_untrained", right=1)
    seed = tmp_path / "seed_0"
    write_evaluation(seed / "eval_cot", right=3)
    write_evaluation(seed / "eval_agentic", right=4)
    (seed / "eval_agentic" / "manifest.json").write_text('{"finished": null}')
    tokens = [{"tokens": {"challenger": 10, "weak_solver": 20}}, {"tokens": {"weak_solver": 5}}]
    write_finished(seed / "cot", {"trajectories.jsonl": list(map(json.dumps, tokens))})
    train = [{"step": 1, "reward": 0.5, "step_time": 2.0, "frac_reward_zero_std": 0.0},
             {"step": 2, "reward": 0.5, "step_time": 3.0, "frac_reward_zero_std": 0.5}]  # fmt: skip
    watched = {"cot_test": [{"step": 0, "score": 0.25, "cut_off": 0.0}, {"step": 2, "score": 0.5, "cut_off": 0.0}]}
    curve = json.dumps({"train": train, "watched": watched, "probe": None})
    write_finished(seed / "grpo_cot", {"curve.json": [curve]}, examples={"train": 64, "cot_test": 3})
    return tmp_path


def write_finished(folder: Path, lines: dict[str, list[str]], **facts: object) -> None:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"finished": "now", **facts}))
    for name, content in lines.items():
        (folder / name).write_text("".join(f"{line}\n" for line in content))


def write_evaluation(folder: Path, right: int) -> None:
    """Write two answers to each of four questions. The last question of a set has one that was not scored."""
    answers = [
        SampledAnswer("cot_test", f"q{n}", f"d{n // 2}", epoch, None if (n, epoch) == (3, 2) else float(n < right),
                      Outcome.ANSWERED, True, 5)
        for n in range(4)
        for epoch in (1, 2)
    ]  # fmt: skip
    write_finished(folder, {ANSWERS: [SAMPLED_ANSWER.dump_json(answer).decode() for answer in answers]})


def test_finished_runs_are_gathered(runs):
    table = read_table(analyse(load_recipe(runs, "seeds=[0]")))
    assert table[UNTRAINED][4].startswith("0.250")
    assert table["CoT"][:3] == ["64", "10", "5 s"], "the arm's questions need the challenger alone"
    assert table["CoT"][3] == "25 %", "half of the groups of one step in two"
    assert table["CoT"][4].startswith("0.750")
    assert table["CoT"][5].startswith("+0.500")
    assert table["agentic"] == ["–"] * 7, "its evaluation is not finished"
    rows = read_rows(runs / "analysis")
    assert rows.curves == [CurvePoint(0, "cot", 0, 0.25, 3), CurvePoint(0, "cot", 2, 0.5, 3)]
    cost = Cost(0, "cot", 64, 10, 5.0, 0.25, {"challenger": 10})
    assert cost in rows.costs
    last = rows.scores[-1]
    assert (last.skill, last.difficulty, last.samples, last.score) == ("skill 1", "3", 1, 0.0)


def test_an_arm_of_two_trainings_has_one_curve_and_the_costs_of_both(runs):
    seed, spent = runs / "seed_0", {"trajectories.jsonl": [json.dumps({"tokens": {"challenger": 7, "judge": 1}})]}
    write_finished(seed / "again", spent)
    train = [{"step": 1, "reward": 0.5, "step_time": 4.0, "frac_reward_zero_std": 1.0}]
    watched = {"cot_test": [{"step": 0, "score": 0.4, "cut_off": 0.0}, {"step": 1, "score": 0.75, "cut_off": 0.0}]}
    curve = json.dumps({"train": train, "watched": watched, "probe": None})
    write_finished(seed / "grpo_again", {"curve.json": [curve]}, examples={"train": 6, "cot_test": 3})
    arm = (
        "{name: cot, label: CoT, generations: [cot, again], trainings: [grpo_cot, grpo_again], "
        "roles: [challenger], command: make study}"
    )
    analyse(load_recipe(runs, "seeds=[0]", f"arms=[{arm}]"))
    rows = read_rows(runs / "analysis")
    assert [(p.step, p.accuracy) for p in rows.curves] == [(0, 0.25), (2, 0.5), (3, 0.75)], (
        "step 0 is the model of step 2"
    )
    assert rows.costs == [Cost(0, "cot", 70, 17, 9.0, 0.5, {"challenger": 17})]
    (seed / "grpo_again" / "manifest.json").write_text('{"finished": null}')
    analyse(load_recipe(runs, "seeds=[0]", f"arms=[{arm}]"))
    assert read_rows(runs / "analysis").costs[0].training_seconds is None, "half a training is none"


def test_seeds_of_two_folders_are_one_study(tmp_path):
    rows = make_rows(3)

    def keep(name: str, *seeds: int | None) -> str:
        parts = ([row for row in part if row.seed in seeds] for part in (rows.scores, rows.curves, rows.costs))
        write_rows(StudyRows(*parts), tmp_path / name)
        return str(tmp_path / name)

    first, second = keep("first", None, 0), keep("second", None, 1, 2)
    whole = analyse_rows(rows, tmp_path, "seeds=[0,1,2]")
    joined = analyse(load_recipe(tmp_path, f"scores=[{first},{second}]", "seeds=[0,1,2]"))
    assert joined == whole
    with pytest.raises(RunError, match="has scores of agentic, seed 0, like"):
        analyse(load_recipe(tmp_path, f"scores=[{first},{keep('third', 0)}]"))
    rows.scores[0] = replace(rows.scores[0], score=1.0 - rows.scores[0].score)
    with pytest.raises(RunError, match="the untrained model has other scores"):
        analyse(load_recipe(tmp_path, f"scores=[{first},{keep('fourth', None, 2)}]"))


def test_answers_to_other_questions_are_an_error(runs):
    heldout = runs / "heldout" / EXAMPLES
    heldout.write_text("".join(heldout.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(RunError, match="answered q3, which is not in cot_test"):
        analyse(load_recipe(runs, "seeds=[0]"))


def test_a_heat_map_without_skills_is_not_drawn(tmp_path):
    rows = make_rows(2)
    rows.scores[:] = [replace(score, skill="") for score in rows.scores]
    analyse_rows(rows, tmp_path)
    assert not (tmp_path / "analysis" / "skills.png").exists()
    assert (tmp_path / "analysis" / "curves.png").exists()
