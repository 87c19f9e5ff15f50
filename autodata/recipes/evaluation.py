"""What can stand in a recipe of evaluation, or of a table made of evaluations."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from autodata.recipes.domain import DomainConfig
from autodata.recipes.evaluated import Evaluated, choose_endpoint, is_family, list_words
from autodata.recipes.models import OPERATIONAL, Models, RoleConfig, Sampling, operational

OWN = {"own": True}  # belongs to the recipe itself: no file that is appended to a command can set it


@dataclass
class PrBenchConfig:
    """PRBench as it was downloaded."""

    path: str = field(default=MISSING, metadata=OPERATIONAL)  # identified by its content
    splits: list[str] = field(default_factory=lambda: ["legal", "legal_hard"])
    limit: int | None = None  # tasks of each split, the first so many; None: all
    revision: str = ""  # of the data set: its rubrics changed, and scores across revisions cannot be compared


@dataclass
class PrincipiaConfig:
    """Principia bench as it was downloaded."""

    path: str = field(default=MISSING, metadata=OPERATIONAL)  # a file or a folder, identified by its content
    problem: str = "problem_statement"  # the names of its columns
    answer: str = "answer"
    subset: str = "source_data"
    limit: int | None = None  # the first so many problems; None: all
    revision: str = ""  # of the data set


@dataclass
class EvalRecipe:
    """Held-out examples, a benchmark, or both → logs and scores of one model."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    label: str = field(default=MISSING, metadata=OWN)  # the row of the table
    evaluated: Evaluated | None = field(default=None, metadata=OWN)  # None in runs that are older than this key
    dataset: str | None = operational(None)  # a run folder of autodata.dataset; null: a benchmark alone
    sets: list[str] = field(default_factory=lambda: ["cot_test", "agentic_test"])  # <arm>_<split>
    prbench: PrBenchConfig | None = None
    principia: PrincipiaConfig | None = None  # for domain.name=science, whose judge compares answers
    graders: dict[str, RoleConfig | None] = field(default_factory=dict)  # of PRBench, by name; none: models.judge
    samples: int = 3
    seed: int = 0
    max_unmeasured: float = operational(0.1)  # a larger share of answers that never came stops it
    max_failures: float = operational(0.1)  # a larger share of judgements that failed stops it
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)

    def __post_init__(self) -> None:
        """Serve what is evaluated and forget the rest; a resolved recipe stays as it is. Raises ValueError."""
        if self.evaluated is None:
            return
        self.graders = {name: role for name, role in self.graders.items() if role and self.prbench}
        for name, role in self.graders.items():
            self._check_grader(name, role)
        key, endpoint = choose_endpoint(self.evaluated, self.models.endpoints)
        below = self.models.weak_solver.sampling if self.models.weak_solver else Sampling()
        self.models.weak_solver = RoleConfig(key, self.evaluated.sampling.over(below))
        self.models.keep(["weak_solver", "judge"] if self._asks_judge else ["weak_solver"])
        used = {role.endpoint for role in (self.models.weak_solver, self.models.judge, *self.graders.values()) if role}
        self.models.endpoints = {n: e for n, e in {**self.models.endpoints, key: endpoint}.items() if n in used}

    @property
    def _asks_judge(self) -> bool:
        """True if models.judge is asked: by the domain, or by PRBench where no grader is named."""
        is_prbench_alone = self.prbench and not self.dataset and not self.principia
        return not self.graders if is_prbench_alone else "judge" in self.domain.roles

    def _check_grader(self, name: str, role: RoleConfig) -> None:
        """A grader's name heads a column of the tables, so it must be the model's."""
        endpoint = self.models.endpoints.get(role.endpoint)
        if endpoint is None:
            raise ValueError(f"graders.{name}.endpoint={role.endpoint}: not in models.endpoints "
                             f"({', '.join(self.models.endpoints)})")  # fmt: skip
        if name != "judge" and not is_family(name, endpoint.model):
            fitting = "_".join(list_words(endpoint.model.rpartition("/")[2])).replace(".", "_")
            raise ValueError(f"graders.{name}: grades with {endpoint.model}, so its scores are not {name}'s; append "
                             f"graders.{name}=null, and name the grader after its model, as graders.{fitting}=…"
                             )  # fmt: skip


@dataclass
class QuestionTypesRecipe:
    """Examples → what types of questions they are."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    dataset: str = field(default=MISSING, metadata=OPERATIONAL)  # a run folder of autodata.dataset
    arm: str = "agentic"
    examples: int = 1000  # a random sample; all, where there are fewer
    seed: int = 0
    max_failures: float = operational(0.1)  # a larger share of questions without a readable label stops it
    domain: DomainConfig = field(default_factory=DomainConfig)  # says how often its judge is asked again
    models: Models = field(default_factory=Models)  # the judge's, who annotates


@dataclass
class TableRow:
    """One model of a table."""

    label: str = MISSING
    run: str = MISSING
    command: str = MISSING  # what makes the run, printed where it is missing


@dataclass
class TableRecipe:
    """Runs → a table."""

    title: str = MISSING
    # "data quality" (paper's Tables 1, 3), "held-out" (2), "prbench" (4, 12), "subsets" (5, 6), "pass rate" (7),
    # "truncation" (8), "attribution" (9), "question types" (11), "learning curves" (Figure 3)
    shape: str = MISSING
    runs: str = MISSING  # folder of the runs
    output: str = MISSING  # Markdown file to write; CSV and LaTeX go beside it
    rows: list[TableRow] = field(default_factory=list)
    # By subsets: one task with its parts, or several. Truncation and attribution: what the validation consists of.
    tasks: list[str] = field(default_factory=list)
    # The paper's cells, shown beside ours and marked: an arm or a row's label → column → a number; what is left out is
    # unknown.
    paper: dict[str, dict[str, Any]] = field(default_factory=dict)
    one_reader: list[str] = field(default_factory=list)  # columns of these cells that one account of the paper reports
