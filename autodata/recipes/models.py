"""Schema of who answers: sampling, servers, endpoints, roles, budget."""

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

OPERATIONAL = {"operational": True}  # how it is done, never what comes out


def operational(default: Any) -> Any:
    return field(default=default, metadata=OPERATIONAL)


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
class Budget:
    """Nothing new is begun beyond any of these, over all sessions of a run; None: no limit."""

    calls: int | None = None
    tokens: int | None = None
    hours: float | None = None
    gpu_hours: float | None = None  # with calls under way; where servers are ours


MODEL_NAME = "smollm2-135m-instruct"
