"""Defines the keys of a domain: thresholds, rubric shapes, attempts and rounds."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from autodata.recipes.models import OPERATIONAL, operational

_ROLES = ("challenger", "quality_verifier", "weak_solver", "strong_solver", "judge")


@dataclass
class Gate:
    """The thresholds of one preset, in scores from 0 to 1; None: no bound. `…_above` and `…_below` exclude theirs."""

    weak_mean_at_least: float | None = None
    weak_mean_above: float | None = None
    weak_mean_at_most: float | None = None
    weak_mean_below: float | None = None
    weak_max_at_most: float | None = None
    weak_min_above: float | None = None  # 0: no weak attempt at zero (one reading of paper Sec. 4)
    strong_mean_at_least: float | None = None
    strong_mean_below: float | None = None
    strong_min_above: float | None = None  # 0: no strong attempt at zero
    gap_at_least: float | None = None
    # Share of a solver's attempts that must have ended by themselves before a low score says anything (chosen: half).
    finished_at_least: float | None = 0.5


@dataclass
class RubricBounds:
    """Bounds the number of criteria in a rubric, as [fewest, most]: in all, with positive and with negative weight."""

    items: list[int] = field(default_factory=lambda: [1, 40])
    positive: list[int] = field(default_factory=lambda: [1, 40])
    negative: list[int] = field(default_factory=lambda: [0, 40])


@dataclass
class Shape:
    """The rubric that the challenger is asked for, and what the quality check tolerates (paper Figs. 8 and 9)."""

    asked: RubricBounds = field(default_factory=RubricBounds)
    tolerated: RubricBounds = field(default_factory=RubricBounds)
    weight_at_most: int = 10  # largest absolute weight


@dataclass
class DomainConfig:
    """Says how a domain's tasks are made and tested. The defaults are in the domain's own domain.yaml."""

    name: str = MISSING  # a folder of autodata/domains, or a name of your own for the domain in `path`
    path: str | None = operational(None)  # folder of a domain outside the package; identified by its content
    like: str | None = None  # the domain of the package whose rules, templates and thresholds that folder begins with
    # The code in `path` is run. A recipe in a run folder never does that, unless the command names the folder again.
    run_code: bool = operational(True)
    prompts: str | None = None  # folder that replaces the domain's own templates; may bring a rubric shape
    mutable_prompts: list[str] = field(default_factory=list, metadata=OPERATIONAL)  # meta-optimisation may edit these
    # The roles that the domain asks. A domain that judges in code needs no judge.
    roles: list[str] = field(default_factory=lambda: [*_ROLES], metadata=OPERATIONAL)
    preset: str = MISSING  # the gate in force, a key of presets
    presets: dict[str, Gate] = field(default_factory=dict)
    rubric_shape: str = ""  # a key of rubric_shapes, if the challenger writes rubrics
    rubric_shapes: dict[str, Shape] = field(default_factory=dict)
    challengers: int = 1  # proposals asked for at once, each tested in a round of its own
    weak_attempts: int = MISSING
    strong_attempts: int = MISSING
    weak_first: bool = True  # the strong solver is asked only after the weak stage; false: both at once
    early_stop: bool = False  # make no further attempt once the verdict in force cannot change
    max_rounds: int = MISSING
    give_up_after: int = 1  # rounds before the orchestrator may give up
    max_illegal_moves: int = 3  # after more illegal calls of the model in a row, the fixed orchestrator takes over
    criteria_per_call: int = 0  # how many criteria the judge is shown at once; 0: all
    worked_examples: bool = True  # show the challenger one complete example and one rejected one
    judge_retries: int = 2  # how often the judge is asked again after an unreadable reply
    count_refusals: bool = False  # a solver's refusal counts as a wrong answer; false: it is not measured
    final_check: bool = False  # check the quality of a possible example a second time
    sanity_probe: bool = False  # if all answers of a solver are empty, ask its endpoint something trivial
    privileged_strong: bool = False  # the strong solver sees the document
    document_chars: int | None = None  # longer documents are cut at a paragraph; None: whole
    context_chars: int = 0  # a shorter context fails the final filter
    question_chars: int | None = None  # a longer question is flagged (legal)
    # What a document is called: a question that speaks of "this paper" cannot be answered without it.
    source_words: list[str] = field(default_factory=lambda: ["paper", "study", "manuscript", "preprint"])


def expects_cut_off(domain: DomainConfig) -> bool:
    """Return True if an attempt that runs into its budget counts like any other, as where answers are very short."""
    return domain.presets[domain.preset].finished_at_least == 0


@dataclass
class Documents:
    """Names the source of the texts: a folder of .txt, .md and .jsonl files, or one such file."""

    path: str = field(default=MISSING, metadata=OPERATIONAL)  # identified by its content
    limit: int | None = None
    per_group: int = 1  # shuffle documents and join so many into one (science: grounding problems)
    shard: str | None = operational(None)  # "3/16": every 16th document, in a folder of `run`; see autodata.merge
