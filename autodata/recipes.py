"""What can stand in a recipe: one typed schema per command.

A field marked operational says how a run is done, never what comes out of it: changing one does
not make a finished run stale.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

from autodata.acceptance import Gate
from autodata.corpus_recipes import OPERATIONAL, operational
from autodata.rubric import Shape
from autodata.training_recipes import PreflightConfig, RewardConfig

SHARDS = "shards"  # folder, inside a run's, of the runs that are parts of it


@dataclass
class Sampling:
    """What is sent with every request: a role's value, else its endpoint's, else 1.0 and 1.0, but no budget."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)  # verbatim into the request body

    def over(self, below: "Sampling") -> "Sampling":
        """These values, and those of `below` where one is missing."""
        pairs = {name: (getattr(self, name), getattr(below, name)) for name in ("temperature", "top_p", "max_tokens")}
        values = {name: lower if own is None else own for name, (own, lower) in pairs.items()}
        return Sampling(**values, extra={**below.extra, **self.extra})


@dataclass
class Canary:
    """A question of known answer, asked before a server gets work: nothing else finds noise behind a green light."""

    question: str = MISSING
    answer: str = MISSING  # to be found in the reply, in any case of letters
    max_tokens: int = 4_096  # room to reason


@dataclass
class Server:
    """A vLLM server that the command starts and stops itself."""

    weights: str = MISSING  # hub name, folder, or "embedded"
    flags: dict[str, Any] = field(default_factory=dict, metadata=OPERATIONAL)  # verbatim to vLLM
    env: dict[str, str] = field(default_factory=dict, metadata=OPERATIONAL)
    port: int | None = operational(None)  # None: any free one
    ready_timeout_s: float = operational(600.0)
    # What only Slurm jobs look at:
    replicas: int = operational(1)
    weights_gb: float = operational(0.0)  # ten seconds more to get ready for each
    on_cpu: bool = operational(False)  # no GPUs are asked for
    canary: Canary | None = field(default=None, metadata=OPERATIONAL)


@dataclass
class Endpoint:
    """An OpenAI-compatible endpoint: one that runs (`base_url`) or one to start (`server`)."""

    model: str = MISSING  # as requests name it
    revision: str = ""  # part of the identity of every reply
    sampling: Sampling = field(default_factory=Sampling)  # the model's own preset, beneath that of the roles
    base_url: str | None = operational(None)
    api_key_env: str = operational("")  # name of the environment variable, never the key
    # What it can be held to: "json_schema", the same with "bounded" strings, "json_object", or "none".
    structured_output: str = "json_schema"
    max_in_flight: int | None = operational(None)  # None: what the servers' load allows, where leases say it; else 64
    leases: str | None = operational(None)  # folder that tells of the replicas, set by a Slurm campaign
    policy: str = operational("cache_aware")  # of the router in front of replicas
    timeout_s: float = operational(600.0)
    retries: int = operational(6)
    server: Server | None = None


@dataclass
class RoleConfig:
    """Who answers for a role, and how it samples."""

    endpoint: str = MISSING  # a key of models.endpoints
    sampling: Sampling = field(default_factory=Sampling)


@dataclass
class Models:
    """Who serves each role; a domain uses the roles that it needs."""

    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    presets: dict[str, Sampling] = field(
        default_factory=dict, metadata=OPERATIONAL
    )  # named samplings, for ${models.presets.…}
    challenger: RoleConfig | None = None
    quality_verifier: RoleConfig | None = None
    orchestrator: RoleConfig | None = None
    weak_solver: RoleConfig | None = None
    strong_solver: RoleConfig | None = None
    judge: RoleConfig | None = None
    analyser: RoleConfig | None = None  # of meta-optimisation, as the next one
    editor: RoleConfig | None = None

    def keep(self, roles: Collection[str]) -> None:
        """Forget who serves any other role, so that no server is started or reserved for it."""
        for name in ROLES:
            if name not in roles:
                setattr(self, name, None)


ROLES = tuple(f.name for f in fields(Models) if f.name not in ("endpoints", "presets"))


@dataclass
class DomainConfig:
    """How a domain's tasks are made and tested; defaults stand in the domain's own domain.yaml."""

    name: str = MISSING
    prompts: str | None = None  # folder of templates instead of the domain's own, and of a rubric shape if it has one
    mutable_prompts: list[str] = field(default_factory=list, metadata=OPERATIONAL)  # what meta-optimisation may edit
    # The roles that the domain asks; one that judges in code needs no judge.
    roles: list[str] = field(
        default_factory=lambda: ["challenger", "quality_verifier", "weak_solver", "strong_solver", "judge"],
        metadata=OPERATIONAL,
    )
    preset: str = MISSING  # the gate in force, a key of presets
    presets: dict[str, Gate] = field(default_factory=dict)
    rubric_shape: str = ""  # a key of rubric_shapes, where the challenger writes rubrics
    rubric_shapes: dict[str, Shape] = field(default_factory=dict)
    challengers: int = 1  # proposals asked for at once, each tested in a round of its own
    weak_attempts: int = MISSING
    strong_attempts: int = MISSING
    weak_first: bool = True  # the strong solver is asked only after the weak stage; false: both at once
    early_stop: bool = False  # no further attempt once the verdict in force cannot change
    max_rounds: int = MISSING
    give_up_after: int = 1  # rounds before the orchestrator may give up
    max_illegal_moves: int = 3  # then the fixed orchestrator takes over
    criteria_per_call: int = 0  # how many criteria the judge is shown at once; 0: all
    judge_retries: int = 2  # an unreadable judge reply is asked again this often
    count_refusals: bool = False  # a solver's refusal is a wrong answer; false: it is not measured
    final_check: bool = False  # a second quality check of what may become an example
    sanity_probe: bool = False  # when all answers of a solver are empty, ask its endpoint something trivial
    privileged_strong: bool = False  # the strong solver sees the document
    document_chars: int | None = None  # longer documents are cut at a paragraph; None: whole
    context_chars: int = 0  # a shorter context fails the final filter
    question_chars: int | None = None  # a longer question is flagged (legal)


@dataclass
class Documents:
    """Where the texts come from: a folder of .txt, .md and .jsonl files, or one such file."""

    path: str = field(default=MISSING, metadata=OPERATIONAL)  # identified by its content
    limit: int | None = None
    per_group: int = 1  # shuffled and joined so many at a time (science: grounding problems)
    shard: str | None = operational(None)  # "3/16": every 16th, in a folder inside `run`; autodata.merge joins them


@dataclass
class Budget:
    """Nothing new is begun beyond any of these, over all sessions of a run; None: no limit."""

    calls: int | None = None
    tokens: int | None = None
    hours: float | None = None
    gpu_hours: float | None = None  # with calls under way; where servers are ours


@dataclass
class GenerateRecipe:
    """Documents → trajectories."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    documents: Documents = field(default_factory=Documents)
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)
    arm: str = "agentic"  # or a baseline: "cot" (CoT Self-Instruct), "best_of_n" (as many tokens as budget_from)
    orchestrator: str = "fixed"  # or "agent": a language model chooses among the legal moves
    budget_from: str | None = operational(None)  # for best_of_n: the agentic run whose tokens it may spend
    seed: int = 0
    documents_in_flight: int = operational(16)
    max_error_rate: float = operational(0.1)  # more failing documents than this stop the run
    max_unmeasured: float = operational(0.1)  # a larger share of a role's calls that end without an answer stops it
    quarantine_after: int = operational(3)  # a document that failed this often is left out and listed
    min_acceptance: float = operational(0.0)  # a lower share of accepted documents stops the run …
    min_acceptance_after: int = operational(50)  # … once this many are finished
    journal: str | None = operational(None)  # shared between runs; None: inside the run folder
    fork: str | None = operational(None)  # a run whose replies this one starts from
    budget: Budget = field(default_factory=Budget, metadata=OPERATIONAL)  # beyond it no call is begun

    def __post_init__(self) -> None:
        if self.documents.shard and not self.run.endswith(
            f"/{self.shard_folder}"
        ):  # as in the recipe of a shard's run
            self.run = f"{self.run}/{self.shard_folder}"

    @property
    def shard_folder(self) -> str:
        return f"{SHARDS}/{(self.documents.shard or '').replace('/', '_of_')}"


@dataclass
class Filters:
    """What code drops from what the arms made."""

    context_chars: int | None = None  # a shorter context; None: as long as the domain of the runs asks for
    source_references: bool = False  # what speaks of its own source: "the paper", "Figure 2" (CS)
    reference_answer: bool = True  # what has no reference answer; false: the domain's questions have none (legal)
    near_duplicate: float = 0.8  # questions whose word 5-grams have at least this Jaccard similarity
    per_document: int = 1  # more examples than this of one document and arm


@dataclass
class DatasetRecipe:
    """Trajectories → examples."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    arms: dict[str, str] = field(default_factory=dict, metadata=OPERATIONAL)  # arm → run folder
    sources: dict[str, str] = field(default_factory=dict)  # pattern of source names → licence, the first that fits
    filters: Filters = field(default_factory=Filters)
    decontaminate: list[str] = field(default=MISSING, metadata=OPERATIONAL)  # benchmark files, known by content; or []
    equal_sizes: bool = False  # every arm cut down to the size of the smallest, split by split
    test_fraction: float = 0.25
    seed: int = 0


@dataclass
class GrpoRecipe:
    """Examples → a trained weak model."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    dataset: str = field(default=MISSING, metadata=OPERATIONAL)  # a run folder of autodata.dataset
    arms: list[str] = field(default_factory=lambda: ["agentic"])
    pass_rate: list[float] = field(default_factory=list)  # [low, high] of the weak solver's mean score, inclusive
    evaluate: list[str] = field(default_factory=list)  # sets to watch, <arm>_<split>; the trainer says how often
    evaluate_examples: int | None = None  # of each set, the first so many; None: all
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)  # the judge's, where the domain has one
    second_judge: RoleConfig | None = None  # that never rewards: is the first one being gamed?
    second_judge_examples: int = 16  # of each set that is watched
    model: str = MISSING  # hub name, folder, or "embedded"
    min_examples: int = 8
    reward: RewardConfig = field(default_factory=RewardConfig)
    preflight: PreflightConfig = field(default_factory=PreflightConfig, metadata=OPERATIONAL)
    trainer: dict[str, Any] = field(default_factory=dict)  # verbatim to trl.GRPOConfig

    def __post_init__(self) -> None:
        self.models.keep(["judge"] if "judge" in self.domain.roles else [])


@dataclass
class JudgeAuditRecipe:
    """Judged attempts of a generate run → how far its judge can be relied on."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    generation: str = field(default=MISSING, metadata=OPERATIONAL)  # a run folder of autodata.generate
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)  # the judge's
    second_judge: RoleConfig | None = None  # asked the same, to compare
    attempts: int = 100  # judged anew, spread over the documents
    repeats: int = 3  # how often each is judged
    seed: int = 0
