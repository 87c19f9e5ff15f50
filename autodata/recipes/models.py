"""Defines the recipe keys that say who answers: sampling, servers, endpoints, roles and budget."""

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

TOOL_CHOICES = ("required", "auto", "none")  # how an orchestrating model is offered its moves
FORMS = ("json_schema", "bounded", "json_object", "none")  # forms of output that an endpoint can enforce
OPERATIONAL = {"operational": True}  # marks a key that says how a run is done and cannot change its results


def operational(default: Any) -> Any:
    return field(default=default, metadata=OPERATIONAL)


@dataclass
class Sampling:
    """The sampling sent with a request. A role's null stands for its endpoint's value; an endpoint's null is not sent.

    Only max_tokens must be set, by one of the two.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)  # copied verbatim into the request body; null removes a key

    def over(self, below: "Sampling") -> "Sampling":
        """Return these values, with those of `below` where one is missing."""
        pairs = {name: (getattr(self, name), getattr(below, name)) for name in ("temperature", "top_p", "max_tokens")}
        values = {name: lower if upper is None else upper for name, (upper, lower) in pairs.items()}
        return Sampling(**values, extra={**below.extra, **self.extra})


@dataclass
class Canary:
    """A question with a known answer, asked before a server gets work: only this detects a server that emits noise."""

    question: str = MISSING
    answer: str = MISSING  # must occur in the reply, in upper or lower case
    max_tokens: int = 4_096  # leaves room for reasoning


@dataclass
class Server:
    """A vLLM server that the command starts and stops itself."""

    weights: str = MISSING  # hub name, folder, or "embedded"
    flags: dict[str, Any] = field(default_factory=dict, metadata=OPERATIONAL)  # passed verbatim to vLLM
    env: dict[str, str] = field(default_factory=dict, metadata=OPERATIONAL)
    port: int | None = operational(None)  # None: any free port
    ready_timeout_s: float = operational(600.0)
    # All servers with this key use the same GPUs. They start one after the other, because vLLM measures free memory.
    shares_gpus: bool = operational(False)
    on_cpu: bool = operational(False)  # the server has no GPUs
    weights_gb: float = operational(0.0)  # on Slurm, each adds ten seconds to the time to get ready
    # Only Slurm jobs use the keys below.
    replicas: int = operational(1)
    canary: Canary | None = field(default=None, metadata=OPERATIONAL)


@dataclass
class Price:
    """What an endpoint charges, in US dollars per million tokens."""

    input: float = MISSING
    output: float = MISSING  # reasoning included
    cached: float | None = None  # prompt tokens that the provider had cached; None: they cost as much as all others


@dataclass
class Batch:
    """How an endpoint gets its calls by OpenAI's Batch API: for less money, and answered within hours."""

    window: str = "24h"  # within which the provider promises the replies; OpenAI knows this value only
    price_factor: float = 0.5  # share of `price` that a call in a batch costs; half at OpenAI, Azure and others
    requests: int = 10_000  # a batch of so many calls is sent at once (chosen; OpenAI allows 50,000)
    quiet_s: float = 30.0  # a smaller one is sent when nobody has asked anything new for so long (chosen)


@dataclass
class Endpoint:
    """An OpenAI-compatible endpoint: one that already runs (`base_url`) or one to start (`server`)."""

    model: str = MISSING  # the name that requests use
    revision: str = ""  # part of the identity of every reply
    # The model's own preset; a role's sampling overrides it. null: not sent, as some models refuse a value.
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=1.0, top_p=1.0))
    body: dict[str, Any] = field(default_factory=dict)  # added to every request; null removes a key, as {seed: null}
    max_tokens_key: str = operational("max_tokens")  # the name of the budget in a request, as max_completion_tokens
    base_url: str | None = operational(None)
    api_key_env: str = operational("")  # name of the environment variable, never the key
    headers: dict[str, str] = field(default_factory=dict, metadata=OPERATIONAL)  # $NAME: an environment variable
    query: dict[str, str] = field(default_factory=dict, metadata=OPERATIONAL)  # after the "?" of every URL, likewise
    lists_models: bool = operational(True)  # false: /v1/models is not asked whether it names the model
    structured_output: str = "json_schema"  # one of FORMS; "bounded" is a schema with bounded strings
    tool_choice: str = "required"  # one of TOOL_CHOICES; some models refuse "required" while they think
    max_in_flight: int | None = operational(None)  # None: by the load that its vLLM reports, else 64
    leases: str | None = operational(None)  # folder with the replicas' leases, set by a Slurm campaign
    policy: str = operational("cache_aware")  # policy of the router in front of the replicas
    requests_per_minute: float | None = operational(None)  # the provider's limits, so that it need not refuse calls
    tokens_per_minute: float | None = operational(None)
    patience_s: float = operational(3600.0)  # an endpoint that refuses all calls as too many for so long is given up
    timeout_s: float = operational(600.0)
    retries: int = operational(6)  # after a passing fault; refusals of too many calls are waited for
    # Not needed where the provider says with each reply what it cost.
    price: Price | None = field(default=None, metadata=OPERATIONAL)
    batch: Batch | None = field(default=None, metadata=OPERATIONAL)  # {}: its calls can wait and are sent together
    server: Server | None = None

    @property
    def charged(self) -> Price | None:
        """The price of the calls as they are sent: that of a batch is lower."""
        if self.price is None or self.batch is None:
            return self.price
        factor = self.batch.price_factor
        return Price(**{kind: usd if usd is None else usd * factor for kind, usd in vars(self.price).items()})


@dataclass
class RoleConfig:
    """Says which endpoint answers for a role, and with which sampling."""

    endpoint: str = MISSING  # a key of models.endpoints
    sampling: Sampling = field(default_factory=Sampling)


@dataclass
class Models:
    """Says who serves each role. A domain uses the roles that it needs."""

    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    presets: dict[str, Sampling] = field(default_factory=dict, metadata=OPERATIONAL)  # used as ${models.presets.…}
    challenger: RoleConfig | None = None
    quality_verifier: RoleConfig | None = None
    orchestrator: RoleConfig | None = None
    weak_solver: RoleConfig | None = None
    strong_solver: RoleConfig | None = None
    judge: RoleConfig | None = None
    analyser: RoleConfig | None = None  # for meta-optimisation
    editor: RoleConfig | None = None  # for meta-optimisation
    # Every reply comes from the run's journal: no server is started, nothing is asked, a missing reply ends the run.
    replay: bool = operational(False)

    def keep(self, roles: Collection[str]) -> None:
        """Forget who serves all other roles, so that no server is started or reserved for them."""
        for name in {*ROLES} - {*roles}:
            setattr(self, name, None)


ROLES = tuple(f.name for f in fields(Models) if f.name not in ("endpoints", "presets", "replay"))


@dataclass
class Budget:
    """Limits all sessions of a run together: at the first limit reached, nothing new is started. None: no limit."""

    calls: int | None = None
    tokens: int | None = None
    hours: float | None = None
    gpu_hours: float | None = None  # time with calls in flight × GPUs; for servers that the project starts
    usd: float | None = (
        None  # US dollars; every endpoint that is asked needs a price, or a provider that says its cost
    )


MODEL_NAME = "smollm2-135m-instruct"
