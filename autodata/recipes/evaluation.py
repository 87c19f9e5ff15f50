"""Defines the keys of the recipes for evaluations and for tables made of evaluations."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from autodata.recipes.domain import DomainConfig
from autodata.recipes.evaluated import Evaluated, choose_endpoint, is_family, list_words
from autodata.recipes.models import OPERATIONAL, Models, RoleConfig, Sampling, operational
from autodata.types import Role

MADE = ".made.json"  # ending of the note beside a table that says from which recipe and runs it was made
RECIPE_ONLY = {"recipe_only": True}  # marks a key that only the recipe itself sets, not a file appended to a command


@dataclass
class PrBenchConfig:
    """Describes PRBench as it was downloaded."""

    path: str = field(default=MISSING, metadata=OPERATIONAL)  # identified by its content
    splits: list[str] = field(default_factory=lambda: ["legal", "legal_hard"])
    limit: int | None = None  # only the first so many tasks of each split; None: all
    revision: str = ""  # revision of the data set: rubrics changed, so scores across revisions cannot be compared


@dataclass
class PrincipiaConfig:
    """Describes Principia bench as it was downloaded."""

    path: str = field(default=MISSING, metadata=OPERATIONAL)  # a file or a folder, identified by its content
    problem: str = "problem_statement"  # names of the columns, here and in the next two keys
    answer: str = "answer"
    subset: str = "source_data"
    limit: int | None = None  # only the first so many problems; None: all
    revision: str = ""  # revision of the data set


@dataclass
class EvalRecipe:
    """Evaluates one model on held-out examples, a benchmark, or both, and writes logs and scores."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    label: str = field(default=MISSING, metadata=RECIPE_ONLY)  # the row of the table
    evaluated: Evaluated | None = field(default=None, metadata=RECIPE_ONLY)  # None in runs older than this key
    dataset: str | None = operational(None)  # a run folder of autodata.dataset; null: a benchmark alone
    sets: list[str] = field(default_factory=lambda: ["cot_test", "agentic_test"])  # <arm>_<split>
    prbench: PrBenchConfig | None = None
    principia: PrincipiaConfig | None = None  # for domain.name=science, whose judge compares answers
    graders: dict[str, RoleConfig | None] = field(default_factory=dict)  # graders of PRBench; empty: models.judge
    samples: int = 3
    seed: int = 0
    max_unmeasured: float = operational(0.1)  # a larger share of answers that never came stops the evaluation
    max_failures: float = operational(0.1)  # a larger share of failed judgements stops the evaluation
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)

    def __post_init__(self) -> None:
        """Serve the evaluated model and drop unused endpoints; a resolved recipe is not changed. Raises ValueError."""
        if self.evaluated is None:
            return
        self.graders = {name: role for name, role in self.graders.items() if role and self.prbench}
        for name, role in self.graders.items():
            self._check_grader(name, role)
        key, endpoint = choose_endpoint(self.evaluated, self.models.endpoints)
        below = self.models.weak_solver.sampling if self.models.weak_solver else Sampling()
        self.models.weak_solver = RoleConfig(key, self.evaluated.sampling.over(below))
        # PRBench alone asks models.judge if it names no grader; else the domain does, if it has a judge.
        is_prbench_alone = self.prbench and not self.dataset and not self.principia
        asks_judge = not self.graders if is_prbench_alone else "judge" in self.domain.roles
        self.models.keep(["weak_solver", "judge"] if asks_judge else ["weak_solver"])
        used = {role.endpoint for role in (self.models.weak_solver, self.models.judge, *self.graders.values()) if role}
        self.models.endpoints = {n: e for n, e in {**self.models.endpoints, key: endpoint}.items() if n in used}

    def _check_grader(self, name: str, role: RoleConfig) -> None:
        """Raise ValueError unless a grader is named after its model: its name heads a column of the tables."""
        endpoint = self.models.endpoints.get(role.endpoint)
        if endpoint is None:
            names = ", ".join(self.models.endpoints)
            raise ValueError(f"graders.{name}.endpoint={role.endpoint}: not in models.endpoints ({names})")
        if name != "judge" and not is_family(name, endpoint.model):
            fitting = "_".join(list_words(endpoint.model.rpartition("/")[2])).replace(".", "_")
            raise ValueError(
                f"graders.{name}: this grader is {endpoint.model}, so its scores are not {name}'s; append "
                f"graders.{name}=null, and name the grader after its model, for example graders.{fitting}=…"
            )


@dataclass
class QuestionTypesRecipe:
    """Labels examples with the types of their questions."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    dataset: str = field(default=MISSING, metadata=OPERATIONAL)  # a run folder of autodata.dataset
    arm: str = "agentic"
    examples: int = 1000  # size of the random sample; all, if there are fewer
    seed: int = 0
    max_failures: float = operational(0.1)  # a larger share of questions without a readable label stops the run
    domain: DomainConfig = field(default_factory=DomainConfig)  # says how often the judge is asked again
    models: Models = field(default_factory=Models)  # only the judge is used; it labels

    def __post_init__(self) -> None:
        self.models.keep(["judge"])


@dataclass
class TableRow:
    """Describes one row of a table: one model."""

    label: str = MISSING
    run: str = MISSING
    command: str = MISSING  # the command that makes the run, printed if the run is missing


@dataclass
class TableRecipe:
    """Makes a table from runs."""

    title: str = MISSING
    # "data quality" (paper's Tables 1, 3), "held-out" (2), "prbench" (4, 12), "subsets" (5, 6), "pass rate" (7),
    # "truncation" (8), "attribution" (9), "question types" (11), "learning curves" (Figure 3)
    shape: str = MISSING
    runs: str = MISSING  # folder of the runs
    output: str = MISSING  # Markdown file to write; CSV and LaTeX go beside it
    rows: list[TableRow] = field(default_factory=list)
    # For subsets: one task with its parts, or several tasks. For truncation and attribution: the validation tasks.
    tasks: list[str] = field(default_factory=list)
    # The paper's cells, marked and shown beside ours: an arm or a row's label → column → a number; no cell: unknown.
    paper: dict[str, dict[str, Any]] = field(default_factory=dict)
    one_reader: list[str] = field(default_factory=list)  # columns of `paper` that one account alone reports


@dataclass
class StudyArm:
    """Describes one arm of a study: one way to make the training data, trained with every seed."""

    name: str = MISSING  # its evaluation is seed_<s>/eval_<name>
    label: str = MISSING  # its name in tables and figures
    generations: list[str] = MISSING  # its generation runs are seed_<s>/<generation>
    trainings: list[str] = field(default_factory=list)  # one after the other; empty: seed_<s>/grpo_<name> alone
    roles: list[Role] = field(default_factory=lambda: [*Role])  # their tokens are the cost of the arm's data
    command: str = MISSING  # the command that makes its runs, printed if one is missing


@dataclass
class StudyRecipe:
    """Compares arms that were trained with several seeds, on the same held-out questions."""

    title: str = MISSING
    runs: str = MISSING  # folder of the runs: seed_<s>/…, eval_untrained, and the held-out data set heldout
    output: str = MISSING  # folder for the CSV files, results.md and the figures
    set: str = "cot_test"  # the held-out set that is evaluated, and watched during training
    seeds: list[int] = field(default_factory=list)
    untrained: str = MISSING  # the command that makes eval_untrained, printed if it is missing
    arms: list[StudyArm] = field(default_factory=list)
    baseline: str = "cot"  # the arm that the others are compared with in the main table
    scores: list[str] = field(default_factory=list)  # folders with CSV files to analyse; empty: gather from the runs
    pilot: str | None = None  # folder with a pilot's CSV files; the command then computes the power only
    power_seeds: list[int] = field(default_factory=lambda: [3, 5, 10])
    power_documents: list[int] = field(default_factory=lambda: [40])

    def __post_init__(self) -> None:
        """Raise ValueError for a study that cannot be analysed."""
        names = [arm.name for arm in self.arms]
        if not self.seeds or not names:
            raise ValueError("seeds and arms: name at least one of each")
        if repeated := next((name for name in (*names, *self.seeds) if [*names, *self.seeds].count(name) > 1), None):
            raise ValueError(f"{repeated} is named twice; arms and seeds have different names")
        if self.baseline not in names:
            raise ValueError(f"baseline={self.baseline}: not among the arms ({', '.join(names)})")
        if min(*self.power_seeds, *self.power_documents) < 2:
            raise ValueError("power_seeds, power_documents: a variance needs at least two of each")
