"""Says what an error of an endpoint means: whether another try can help, and what to change if none can."""

import re
from dataclasses import dataclass
from enum import StrEnum

from autodata.serving.wire.faults import WITHIN, BadShape, Fault, HttpError, Lost
from autodata.serving.wire.waits import read_wait

REFUSALS = frozenset({400, 413, 422})  # the endpoint is up and refuses this very request


class Kind(StrEnum):
    """What to do after an error."""

    PASSING = "passing"  # send the request again, at most `retries` times
    BUSY = "busy"  # too many requests: wait as long as it takes, then send it again
    FILTERED = "filtered"  # a content filter refused this prompt: leave its document out
    OVERFLOW = "overflow"  # prompt and budget do not fit the server
    REFUSED = "refused"  # this request cannot be served; others can
    CLOSED = "closed"  # no request can be served before the user changes something


@dataclass(frozen=True)
class Meaning:
    """What an error means, and what the user can change."""

    kind: Kind
    advice: str = ""


@dataclass(frozen=True)
class _Rule:
    """Gives a meaning to errors with one of these statuses in whose words the pattern occurs."""

    statuses: frozenset[int]
    pattern: re.Pattern[str]
    meaning: Meaning

    def fits(self, fault: HttpError) -> bool:
        """An error without a status of its own is known by its words alone."""
        is_known = bool(self.pattern.pattern) if fault.status == WITHIN else fault.status in self.statuses
        return is_known and bool(self.pattern.search(fault.words))


def _rule(statuses: set[int], pattern: str, kind: Kind, advice: str = "") -> _Rule:
    return _Rule(frozenset(statuses), re.compile(pattern, re.IGNORECASE), Meaning(kind, advice))


_OVERFLOW = (
    r"context[ _](?:length|size|limit|window)|(?:prompt|input) is too long|model length|too many tokens"
    r"|exceeds? the (?:maximum number of tokens|configured limit)|longer than the|input length"
    r"|`inputs` (?:tokens|must have)|max_?(?:completion_?|new_?|output_?)?tokens\W{0,3}(?:value|must be|exceed)"
    r"|max_(?:completion_|new_)?tokens\W{1,4}(?:or \W?max_completion_tokens\W{1,3})?is too large"
    r"|maximum allowed number of output tokens|invalid max_tokens|reduce the length"
    r"|(?:request|payload|entity|body)(?: entity)?(?: is)? too large"
)
_FILTER = (
    r"content[ _-]?filter|content management policy|responsible ?ai|moderation|moderated|flagged"
    r"|(?:usage|content) polic|safety (?:system|filter|polic)|data_inspection|inappropriate content|prohibited_content"
    r"|content exists risk|considered high risk|usage guidelines|敏感内容"
)
_NO_CREDIT = (
    r"insufficient[ _](?:quota|credits?|balance|funds)|credit balance|out of credits|used all available credits"
    r"|payment required|spend(?:ing)? limit|budget has been exceeded|specified (?:api )?usage limit|key limit exceeded"
)
# Busy providers say this too, because a larger account would be served more; then they name a wait.
_ABOUT_MONEY = r"exceeded your current quota|more credits|billing|add credit"
# A busy provider that answers with another status than 429, or a model that is still being loaded.
_BUSY = (
    r"throttl|too many (?:requests|tokens, please wait)|rate (?:limit )?(?:is )?exceeded|rate limit reached|overloaded"
    r"|at capacity|capacity exceeded|currently loading|still loading|^loading model"
)
_PREFILL = r"continue_final_message|add_generation_prompt|\bprefill|(?:end|last message).{0,40}user (?:message|role)"
_UNKNOWN_KEY = (
    r"unsupported (?:parameter|value)|unrecognized request argument|unknown (?:name|field|parameter|argument)"
    r"|extra (?:inputs|fields) (?:are )?not permitted|property '[^']{1,60}' is unsupported|unexpected keyword"
)
_WRONG_KEY = (
    r"api[ _-]?key (?:is )?(?:not valid|invalid|not found|expired)|(?:invalid|incorrect|wrong) api[ _-]?key"
    r"|unauthori[sz]ed|(?:invalid|missing) (?:authentication|authorization)|authentication (?:error|fails|failed)"
)
_NO_MODEL = (
    r"no models? (?:is )?loaded|model (?:is )?not (?:loaded|found|available|deployed)|model_not_(?:found|available)"
    r"|unable to access (?:non-serverless )?model|(?:unknown|no such) model|invalid model(?: name| id|:)"
    r"|model \S{1,80} (?:does not exist|not found)|not a valid model\b"
)
_DAILY = r"per[ _-]*(?:day|week|month)|(?:/|\b(?:a|each|every)) ?(?:day|week|month)\b|daily|weekly|monthly|\b[rt]pd\b"
_PER_MINUTE = re.compile(
    r"per[ _-]*(?:min|sec)|(?:/|\b(?:a|each|every)) ?(?:minute|second)\b|\b[rt]p[ms]\b", re.IGNORECASE
)
_OFFER = re.compile(r"\b(?:add|buy|unlock|upgrade|need more|to (?:raise|increase))\b[^;.?!]*", re.IGNORECASE)
BATCH_API = "the batch API says:"  # begins the words of every error of the Batch API itself
_RUN_AGAIN = "then run the same command again: every answer is kept"
_TOO_LONG = f"this is longer than patience_s allows; set requests_per_minute of this endpoint, or wait, {_RUN_AGAIN}"
_CHECK_KEY = "check the key named by api_key_env"
_ADD_CREDIT = f"add credit or raise the limit at the provider, {_RUN_AGAIN}"
# The first rule that fits decides. An advice ends the error, so it names a key of the recipe.
_RULES = (
    # The model wrote no JSON or no call although it had to: another try may bring one (Groq).
    _rule({400}, r"failed_generation|json_validate_failed|tool_use_failed", Kind.PASSING,
          "the model does not keep to the form: name another one, or set structured_output or tool_choice to none"),
    _rule({400, 422}, r"max_completion_tokens.{0,40}instead|unsupported parameter.{0,20}max_tokens",
          Kind.CLOSED, "set max_tokens_key: max_completion_tokens of this endpoint"),
    _rule({400, 422}, _NO_MODEL, Kind.CLOSED, "check base_url and model"),
    _rule({*REFUSALS}, _OVERFLOW, Kind.OVERFLOW),
    _rule({400, 403, 422, 451}, _FILTER, Kind.FILTERED),
    _rule({400, 429}, r"enqueued token", Kind.CLOSED,
          f"wait until other batches have ended, or lower batch.requests of this endpoint, {_RUN_AGAIN}"),
    _rule({400, 401, 402, 403, 429}, _NO_CREDIT, Kind.CLOSED, _ADD_CREDIT),
    _rule({402}, "", Kind.CLOSED, _ADD_CREDIT),
    _rule({400, 404, 405, 413, 422, 501}, BATCH_API, Kind.CLOSED,
          "leave out `batch` of this endpoint if the provider has no Batch API for this model"),
    _rule({429}, _DAILY, Kind.CLOSED, f"wait until the quota is renewed, or raise it at the provider, {_RUN_AGAIN}"),
    _rule({400, 403, 429}, _ABOUT_MONEY, Kind.CLOSED, _ADD_CREDIT),
    _rule({429, 529}, "", Kind.BUSY, _TOO_LONG),
    _rule({400, 403, 500, 502, 503}, _BUSY, Kind.BUSY, _TOO_LONG),
    _rule({500, 503}, r"requires more (?:system |gpu )?memory", Kind.CLOSED,
          "the server has too little memory for it: set `model` of this endpoint to a smaller one"),
    _rule({401}, "", Kind.CLOSED, _CHECK_KEY),
    _rule({400, 403}, _WRONG_KEY, Kind.CLOSED, _CHECK_KEY),
    _rule({404}, r"(?:handle|support) (?:all )?the requested parameters", Kind.CLOSED,
          "leave out what the model does not know: sampling.temperature: null, sampling.top_p: null or "
          "body: {seed: null} of this endpoint"),
    _rule({400, 422}, r"tools with reasoning", Kind.CLOSED,
          "set tool_choice: none or body: {reasoning_effort: none} of this endpoint, or orchestrator=fixed"),
    _rule({400, 422}, _PREFILL, Kind.CLOSED,
          "the domain needs answers that are begun for the model, which this endpoint refuses: set its base_url and "
          "model to another (a vLLM server takes them), or use another domain"),
    _rule({400, 404, 405, 422, 501}, r"tool_choice|tool[ _-]?(?:use|calls?|choice)\b|\btools\b|function call",
          Kind.CLOSED, "set tool_choice: auto or none of this endpoint, or orchestrator=fixed"),
    _rule({400, 422}, r"response_format|json_schema|(?:json|invalid) schema|structured output|guided", Kind.CLOSED,
          "set structured_output of this endpoint to another value: json_schema, json_object or none"),
    _rule({400, 422}, r"\bseed\b", Kind.CLOSED, "set body: {seed: null} of this endpoint, so that it is not sent"),
    _rule({400, 422}, r"temperature|top_p", Kind.CLOSED,
          "set sampling.temperature or sampling.top_p of this endpoint to null, so that it is not sent"),
    _rule({400, 422}, _UNKNOWN_KEY, Kind.CLOSED,
          "leave out what the model does not know: null in body of this endpoint removes a key of every request"),
    _rule({403}, "", Kind.CLOSED, "ask the provider for access to this model, or check the key named by api_key_env"),
    _rule({404, 405, 410}, "", Kind.CLOSED, "check base_url and model"),
    _rule({407}, "", Kind.CLOSED, "check the proxy in the environment variable https_proxy"),
    _rule({301, 302, 303, 307, 308}, "", Kind.CLOSED, "set base_url to the address after the redirection"),
    _rule({*REFUSALS}, "", Kind.REFUSED, "the endpoint is up and refuses this request"),
)  # fmt: skip
_PASSING = Meaning(Kind.PASSING, "is the server up? see models.endpoints in the recipe")
_UNKNOWN = Meaning(Kind.PASSING, "the endpoint sends an error instead of a reply: check base_url and model")
_NO_COMPLETION = Meaning(Kind.PASSING, "this is no chat completion: check base_url")
_LOST = Meaning(Kind.PASSING, "no batch answered it: lower batch.requests, or leave out `batch` of this endpoint")
_TOO_SLOW = Meaning(Kind.PASSING, "is the server up? if it needs longer, raise timeout_s of this endpoint")
_NO_DECODER = Meaning(Kind.PASSING, "set headers: {Accept-Encoding: identity} of this endpoint")
_NO_TRUST = Meaning(
    Kind.CLOSED, "set SSL_CERT_FILE to the certificates of your organisation, or base_url to http:// or another host"
)
_BY_TYPE = {BadShape: _NO_COMPLETION, Lost: _LOST}
# Words of a connection that failed for a reason which the recipe can change.
_BROKEN = {
    "CERTIFICATE_VERIFY_FAILED": _NO_TRUST,
    "WRONG_VERSION_NUMBER": _NO_TRUST,
    "not decode content-encoding": _NO_DECODER,
    "no complete reply within": _TOO_SLOW,
}
_ELSE = Meaning(Kind.REFUSED, "check base_url and model in models.endpoints of the recipe")
_TRIED_AGAIN = {408, 409, 425}


def interpret(fault: Fault) -> Meaning:
    """Say what an error means."""
    if not isinstance(fault, HttpError):
        meanings = (meaning for words, meaning in _BROKEN.items() if words in str(fault))
        return _BY_TYPE.get(type(fault)) or next(meanings, _PASSING)
    if _names_wait(fault):
        return Meaning(Kind.BUSY, _TOO_LONG)
    for rule in _RULES:
        if rule.fits(fault):
            return rule.meaning
    if fault.status == WITHIN:
        return _UNKNOWN
    if fault.status in (502, 503, 504) and "retry-after" in fault.headers:
        return Meaning(Kind.BUSY, _PASSING.advice)
    return _PASSING if fault.status in _TRIED_AGAIN or fault.status >= 500 else _ELSE


def _names_wait(fault: HttpError) -> bool:
    """True if an endpoint refuses too many calls for now, whatever it says of bills and of larger accounts besides."""
    if fault.status not in (WITHIN, 400, 403, 429) or (fault.status != 429 and not _SAYS_BUSY.search(fault.words)):
        return False
    if _LASTS.search(_OFFER.sub("", fault.words)):
        return False
    return bool(_PER_MINUTE.search(fault.words)) or read_wait(fault) is not None


_SAYS_BUSY, _LASTS = (re.compile(words, re.IGNORECASE) for words in (_BUSY, f"{_NO_CREDIT}|{_DAILY}"))
_BUDGET_SIGNS = re.compile(r"max_?(?:completion_?|new_?|output_?)?tokens|completion|output", re.IGNORECASE)
_NO_ROOM = re.compile(r"must be at least 1, got -", re.IGNORECASE)  # the prompt alone exceeds the context
_LIMIT = re.compile(
    r"(?:context length (?:is(?: only)?|of)|model length of|context size\D{0,10}|must be <=|maximum of) ?(\d{1,9})"
)
_PROMPT = re.compile(
    r"(?<!\d)(\d{1,9})(?: tokens)? (?:in the messages|in the prompt|input|inputs|of text input|from the input)"
)


def is_prompt_too_long(words: str) -> bool:
    """True if what does not fit a server is the prompt alone, so that no smaller budget helps."""
    limit, prompt = _LIMIT.search(words), _PROMPT.search(words)
    if _NO_ROOM.search(words):
        return True
    if limit and prompt:
        return int(prompt[1]) >= int(limit[1])
    return not _BUDGET_SIGNS.search(words)
