"""Decides which replies count as answers, and makes the errors for all others."""

from collections import deque
from collections.abc import Iterable, Mapping

from autodata.stats.writing import write_percent
from autodata.types import Outcome, Role, UserError

# Finish reasons as servers and gateways write them, in lower case. A reply with an unknown finish reason is no answer.
ENDED = frozenset({"stop", "tool_calls", "tool_call", "function_call", "eos_token", "eos", "stop_sequence", "end_turn",
                   "tool_use", "complete", "completed"})  # fmt: skip
OUT_OF_BUDGET = frozenset({"length", "max_tokens", "max_length", "max_output_tokens", "max_new_tokens", "token_limit"})
OUT_OF_CONTEXT = frozenset({"model_length", "model_context_window_exceeded", "context_length_exceeded",
                            "error_limit"})  # fmt: skip
DECLINED = frozenset({"content_filter", "content_filtered", "refusal", "safety", "image_safety", "recitation",
                      "blocklist", "prohibited_content", "spii", "guardrail_intervened", "error_toxic"})  # fmt: skip
# Finish reasons that a provider's filter gives, and not the model itself.
FILTERS = DECLINED - {"refusal"}
_SHOWN = 320  # characters of a server's message that are shown


class EndpointError(UserError):
    """An endpoint did not serve a request; the message names role, URL, status and time tried."""


class RequestRefused(EndpointError):
    """The endpoint is up and refuses this very request (HTTP 400, 413, 422); a retry does not help."""


class EndpointClosed(EndpointError):
    """The endpoint serves no further request before the user changes something: key, credit, model or recipe."""


class PromptCut(EndpointError):
    """The server read only a part of a prompt, so its answers cannot be trusted."""


class NotMeasured(EndpointError):
    """A call that ended without an answer. It has no score and is not stored, so a resumed run makes it again."""

    def __init__(self, message: str, role: Role, outcome: Outcome, *, is_prompt: bool = False):
        super().__init__(message)
        self.kind = f"{type(self).__name__} {outcome}"  # the name under which failures are counted
        self.role, self.outcome = role, outcome
        self.is_prompt = is_prompt  # a context overflow in which the prompt alone does not fit, whatever the budget


def make_error(role: Role, outcome: Outcome, detail: str, *, is_prompt: bool = False) -> NotMeasured:
    """Make the error of one call, with the server's message and the key to change."""
    message = f"a call of {role} was not measured ({outcome}): {detail[:_SHOWN]}; {advise(role, outcome, is_prompt)}"
    return NotMeasured(message, role, outcome, is_prompt=is_prompt)


def advise(role: Role | str, outcome: Outcome, is_prompt: bool = False) -> str:
    """Name the recipe key that most likely helps against such an outcome."""
    if outcome is Outcome.CONTEXT_OVERFLOW and is_prompt:
        return f"the prompt of {role} is too long for the server: set domain.document_chars, or serve a longer context"
    return {
        Outcome.CONTEXT_OVERFLOW: f"lower models.{role}.sampling.max_tokens, or serve a longer context",
        Outcome.CUT_OFF: f"raise models.{role}.sampling.max_tokens",
        Outcome.FILTERED: "leave the document out, or ask a provider without such a filter",
        Outcome.REFUSED: "set domain.count_refusals=true to count a solver's refusal as a wrong answer",
        Outcome.EMPTY: f"raise models.{role}.sampling.max_tokens, or check the server's reasoning-parser",
        Outcome.ABORTED: f"no finish_reason says that the reply is whole: name another in models.{role}.endpoint",
        Outcome.UNREADABLE: f"set structured_output of the endpoint of models.{role}, or raise its max_tokens",
    }.get(outcome, f"check the endpoint of models.{role}")


class Window:
    """Watches the last judgements, so that a judge that begins to fail is noticed soon."""

    SIZE, ENOUGH = 256, 32  # judgements that are kept, and the fewest that allow a decision

    def __init__(self, at_most: float):
        self._at_most = at_most
        self._failures: deque[bool] = deque(maxlen=self.SIZE)

    def add(self, failures: Iterable[bool]) -> None:
        self._failures.extend(failures)

    def find_problem(self, key: str) -> str | None:
        """Describe the problem if too many of the last judgements failed, else None. `key` names the limit."""
        count, total = sum(self._failures), len(self._failures)
        if total < self.ENOUGH or count <= self._at_most * total:
            return None
        failed = f"{write_percent(count / total)} of the last {total} judgements failed"
        return f"{failed}, more than {key}={self._at_most:g}"


def find_unmeasured(role: str, outcomes: Mapping[str, int], at_most: float, is_end: bool) -> str | None:
    """Describe the problem if more than `at_most` of a role's calls ended without an answer, else None."""
    missing = {name: count for name, count in outcomes.items() if count and not Outcome(name).is_measured}
    count = sum(missing.values())
    calls = max(count, sum(outcomes.values()) - outcomes.get(Outcome.UNREADABLE, 0))
    if count <= at_most * calls:
        return None
    if not is_end:  # chance must not explain it: the lower end of the exact 95 % interval must be above the limit
        from scipy.stats import binomtest  # imported here because it is slow and seldom needed

        if binomtest(count, calls).proportion_ci(method="exact").low <= at_most:
            return None
    advice = _advise_all(role, Outcome(max(missing, key=lambda name: missing[name])))
    listed = ", ".join(f"{name} {n}" for name, n in missing.items())
    ended = f"{count} of {calls} calls of {role} ended without an answer ({listed})"
    return f"{ended}, more than max_unmeasured={at_most:g} allows: {advice}"


def tell_outcomes(outcomes: Mapping[str, Mapping[str, int]], is_cut_off_meant: bool = False) -> list[str]:
    """Write a line for each role (or set of answers) with a call that did not end as ANSWERED.

    Where answers are meant to run into their budget, a solver's answer that was cut off is an answer.
    """
    if is_cut_off_meant:
        others = {*Role} - {Role.WEAK_SOLVER, Role.STRONG_SOLVER}
        outcomes = {name: counts if name in others else _count_as_answers(counts) for name, counts in outcomes.items()}
    return [_tell_one(name, counts) for name, counts in outcomes.items() if {*counts} - {Outcome.ANSWERED}]


def _count_as_answers(counts: Mapping[str, int]) -> dict[str, int]:
    """Add the answers that were cut off to those that ended by themselves."""
    others = {name: count for name, count in counts.items() if name != Outcome.CUT_OFF}
    return others | {Outcome.ANSWERED: counts.get(Outcome.ANSWERED, 0) + counts.get(Outcome.CUT_OFF, 0)}


def _tell_one(name: str, counts: Mapping[str, int]) -> str:
    total = sum(count for name, count in counts.items() if name != Outcome.UNREADABLE)  # UNREADABLE counts judgements
    others = {o: counts.get(o, 0) for o in Outcome if o is not Outcome.ANSWERED}
    parts = [f"{o.words} {n} ({write_percent(n / max(total, n))})" for o, n in others.items() if n]
    answered = f"{counts.get(Outcome.ANSWERED, 0)} of {total} answered"
    advice = f"; {_advise_all(name, max(others, key=others.__getitem__))}" if name in {*Role} else ""
    return f"{name}: {', '.join([answered, *parts])}{advice}"


def _advise_all(role: str, outcome: Outcome) -> str:
    """Advise for many calls at once: nobody knows which of their prompts or budgets are wrong, and which are meant."""
    more = {
        Outcome.CONTEXT_OVERFLOW: "; where the prompt alone is too long, set domain.document_chars",
        Outcome.CUT_OFF: ", unless answers are meant to be that short",
    }
    return advise(role, outcome) + more.get(outcome, "")


def read_outcome(finish_reason: str | None, content: str, refused: bool) -> Outcome:
    """Decide how a reply ended. `content` is all text that can be an answer, including a function's name."""
    reason = (finish_reason or "").casefold()
    if refused or reason in DECLINED:
        return Outcome.REFUSED
    if reason in OUT_OF_BUDGET:
        return Outcome.CUT_OFF
    if reason in OUT_OF_CONTEXT:
        return Outcome.CONTEXT_OVERFLOW
    if reason not in ENDED:
        return Outcome.ABORTED
    return Outcome.ANSWERED if content.strip() else Outcome.EMPTY
