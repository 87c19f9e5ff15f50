"""Looks over a rubric for the patterns that answers exploit when a model is trained on it.

Some findings are certain, and a rubric with one is refused. The others are hints: they refuse a rubric only if they
concern much of it, and are shown to the verifier where there is one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autodata.types import Criterion

MUCH = 1 / 3  # share of the positive points; if more is doubtful, the rubric is refused
_QUOTED_WORDS = 10  # in a row, that a positive criterion has in common with what a solver is shown
_QUOTED = 0.6  # share of a criterion's words in such passages, from which an answer meets it by copying them
_LEADING = r"(?:(?:the |an? )?(?:answer|response|reply|solution|it)\s+)?(?:\w+ly\s+)?"
_OMISSION = re.compile(
    rf"^{_LEADING}(?:does not|doesn't|did not|do not|fails? to|failed to|omits?|omitted|neglects?|misses|lacks?"
    rf"|overlooks?|leaves out"
    r"|forgets?|ignores?|disregards?"
    r"|(?:never|hardly|barely) (?:mentions?|states?|says?|names?|explains?|considers?|discuss(?:es)?|addresses|gives?)"
    r"|makes no (?:mention|reference)|(?:without|not|never) (?:mentioning|stating|naming|saying|explaining|discussing"
    r"|giving|addressing)"
    r"|(?:gives?|offers?|provides?|states?|names?|includes?|contains?) (?:no|neither)"
    r"|leaves? [^.]{1,60} (?:unmentioned|unexplained|unstated|unaddressed|undiscussed|unnamed|unjustified|out)"
    r"|skips|is silent (?:on|about)|says (?:nothing|little|too little) (?:about|on|of)"
    r"|omitting|failing to|lacking|neglecting|ignoring|skipping|failure to|omission of|neglect of)\b"
    r"|^(?:is |too )?(?:vague|short|brief|superficial|shallow|incomplete|insufficient)"
    r"(?: (?:explanation|discussion|treatment|account|answer|analysis|reasoning)\b|\.?$)"
    r"|^(?:no|lack of|absence of|missing) (?:(?:any|a|the) )?(?:mention|explanation|discussion|reference"
    r"|reasoning|justification)",
    re.IGNORECASE,
)
# Words of a wrong claim: one that follows the omission, or a cause that is left out of a model or a calculation.
_MAY_CLAIM = re.compile(
    r"\b(?:and|so|then|thus) (?:\w+ly )?(?:claims?|states?|says?|concludes?|asserts?|assumes?|treats?)\b"
    r"|(?:,|\b(?:thereby|thus)) (?:\w+ly )?"
    r"(?:claiming|stating|saying|concluding|asserting|assuming|treating|taking|counting|setting|deriving|obtaining)\b"
    r"|, (?:and )?(?:so|hence|thus|therefore)\b"
    rf"|^{_LEADING}(?:ignor(?:es?|ing)|disregards?|neglects?(?! to\b)|neglecting(?! to\b))\b",
    re.IGNORECASE,
)
# A clause says what is right, but not the one in "the conclusion that the authors reach".
_THAT_CLAUSE = (
    r"\bthat\b(?! (?:the )?(?:paper|authors?) (?:has |have |had )?"
    r"(?:reach|dr[ae]w|g[ai]ve|stat|mak|made|f[io]u?nd|report|offer|propos|present|conclud)\w*\.?$)"
)
_UNNAMED = re.compile(
    rf"^{_LEADING}(?:gives?|states?|provides?|reaches|arrives at|identif(?:y|ies)|finds?|reports?|names?|predicts?"
    rf"|has|computes?) "
    r"(?:the )?(?:right|correct|expected|proper|true|accurate|desired|appropriate|relevant|applicable) "
    r"(?:\w+ )?(?:value|number|answer|result|conclusion|outcome|cause|reason|solution|trend|direction|explanation"
    r"|policy|choice"
    r"|method|prediction|order|ranking|statute|rule|law|doctrine|precedent)s?\.?$"
    rf"|^{_LEADING}(?:answers?|solves?|addresses|resolves|completes|handles) (?:the |this )?(?:question|problem|task"
    r"|case|prompt)(?: (?:correctly|well|fully|completely|accurately|properly|right|directly))?\.?$"
    rf"|^{_LEADING}(?:is|are) (?:correct|right|accurate|complete|sound|good|clear|thorough)\.?$"
    # The grader has neither reference nor source.
    rf"|^(?!.*{_THAT_CLAUSE}){_LEADING}(?:match(?:es)?|agrees? with|is (?:consistent|in line) with|equals?"
    r"|reach(?:es)?|reproduces?)\b.{0,40}"
    r"\b(?:(?:reference|expected|gold|model|ideal) (?:answer|solution|response)|the (?:paper|authors?))\b",
    re.IGNORECASE,
)
_FORM = re.compile(
    r"\b(?:well[- ](?:structured|organi[sz]ed|written|formatted)|clear(?:ly)? (?:written|structured|and concise)"
    r"|concise(?:ly)?"
    r"|bullet (?:points?|list)|headings?|markdown|grammar|spelling|tone|professional (?:tone|language)|at least \d+ "
    r"(?:words|sentences"
    r"|paragraphs)|(?:word|sentence|paragraph) count|easy to (?:read|follow)"
    r"|(?:at most|fewer than|under|within) \d+ (?:words|sentences|paragraphs)"
    r"|(?:writes?|written|presents?\b.*|explains?|argues?) (?:clearly|step by step|fluently)|readab(?:le|ility)"
    r"|uses? (?:an? )?(?:table|list)s? to)\b",
    re.IGNORECASE,
)
_VERB = (
    r"(?:discuss|mention|address|consider|explain|describe|explore|cover|analy[sz]e|acknowledge|identif(?:y|ie)"
    r"|recogni[sz]e|note|state"
    r"|advise|recommend|warn|suggest|infer|deduce|calculate|determine|find|assert|attribute|reason"
    r"|understand|touche? on|touch|demonstrate|show|name|argue|conclude|predict|propose|reject|relate|derive|compute"
    r"|claim|say"
    r"|point|justif(?:y|ie)|distinguishe?|compare|outline|evaluate|assesse?|examine|highlight|clarif(?:y|ie))s?"
)
_TOPIC = re.compile(
    rf"^{_LEADING}(?:discuss(?:es)?|mentions?|address(?:es)?|considers?|explains?|describes?|explores?|covers?"
    rf"|analy[sz]es?"
    r"|acknowledges?|touch(?:es)? (?:on|upon)|understands?|refers? to|(?:talks?|speaks?) (?:about|of)"
    r"|comments? on|deals? with"
    r"|(?:(?:demonstrates?|shows?|displays?|has|offers?|gives?|provides?|includes?) (?:an? )?(?:\w+ ){0,2})?"
    r"(?:understanding|awareness|knowledge|insight|appreciation|grasp|discussion|explanation|description"
    r"|analysis|account|overview|treatment)s? (?:of|into|on|about)"
    r"|(?:demonstrates?|shows?|provides?|gives?|offers?|uses?|cites?) (?:an? )?"
    r"(?:thorough|deep|good|strong|clear|careful|detailed|relevant|appropriate|correct|sound|proper|suitable"
    r"|sufficient) (?:reasoning|analysis|understanding|examples?|evidence|terminology|terms|authorit(?:y|ies)|sources?"
    r"|arguments?|explanations?|justifications?|support|advice)"
    r"|reflects on|outlines?|examines?|highlights?|evaluates?)\b(?P<rest>[^.]*)",
    re.IGNORECASE,
)
# Words after which a topic has become a claim.
_CLAIM = re.compile(
    r"\b(?:that|because|since|as (?:the|an?)|rather than|instead of|so that|therefore|whether|not|is|are|was|were"
    r"|will|would|can"
    r"|cannot|must|falls?|rises?|grows?|shrinks?|causes?|depends?|leads?|limits?|decides?|by \w+ing|from \w+ing|when"
    r"|if|once|unless"
    r"|due to|namely)\b|[:=<>]|\d",
    re.IGNORECASE,
)
_BARE_TOPIC = re.compile(
    r"^(?:the |an? )?(?:role|importance|impact|influence|effects?|relevance|nature|significance|limits?|limitations?"
    r"|consequences|implications?|costs?|benefits?|use|purpose|meaning|causes?|reasons?|relation(?:ship)?|difference|trade-?offs?)"
    r" (?:of|for|between|behind)\b(?P<rest>[^.]*)\.?$",
    re.IGNORECASE,
)
_COMPOUND = re.compile(
    rf"^{_LEADING}{_VERB}\b.+,? (?:and(?: also| then| further| thus)?|as well as) (?:correctly |also )?(?:{_VERB}\b"
    rf"|that\b)"
    rf"|^{_LEADING}{_VERB} that\b.+(?:, and|; and|;|, as well as) (?:that\b|{_VERB}\b)"
    r"|\(a\).+\(b\)|\(i\).+\(ii\)|; (?:also|and|moreover|in addition)\b|, plus\b"
    r"|\b(?:and/or|(?:at least |any )?(?:one|two|three|some|several|any) of the (?:following|above|below)|one or more "
    r"of)\b"
    r"|\b(?:both|either)\b.+\b(?:and|or)\b.+\b(?:and|or|as well as)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Flaw:
    """A pattern found in one criterion. A certain one refuses the rubric by itself."""

    criterion: Criterion
    problem: str
    is_certain: bool

    def __str__(self) -> str:
        return f"“{self.criterion.text[:160]}” {self.problem}"


def lint(rubric: Sequence[Criterion], shown: str = "") -> list[Flaw]:
    """List the flaws of a rubric, at most one per criterion. `shown` is what an answer can copy from."""
    runs = set(_list_runs(shown))
    return [flaw for criterion in rubric if (flaw := next(_find(criterion, runs), None))]


def find_faults(rubric: Sequence[Criterion], flaws: Sequence[Flaw]) -> list[str]:
    """List all flaws in words if they refuse the rubric: one is certain, or they concern much of it."""
    points = sum(c.weight for c in rubric if c.weight > 0)
    doubtful = sum(flaw.criterion.weight for flaw in flaws if flaw.criterion.weight > 0)
    return [str(flaw) for flaw in flaws] if any(f.is_certain for f in flaws) or doubtful > MUCH * points else []


def _find(criterion: Criterion, shown: set[tuple[str, ...]]) -> Iterator[Flaw]:
    text = criterion.text.strip()
    if criterion.weight < 0 and _OMISSION.search(text):
        is_claim = _MAY_CLAIM.search(text) is not None  # "Ignores the friction and claims that …"
        problem = "names what an answer leaves out; a negative criterion names a wrong claim"
        yield Flaw(criterion, problem + (" alone" if is_claim else ""), not is_claim)
    if criterion.weight > 0 and (quoted := _share_quoted(text, shown)):
        if quoted >= _QUOTED:
            yield Flaw(criterion, "stands in what the solvers are shown, so an answer can copy it", True)
        else:  # a claim beside words of the set-up
            yield Flaw(
                criterion, "has ten words in a row that the solvers are shown; an answer could copy them", False
            )
    if _UNNAMED.search(text):
        yield Flaw(criterion, "does not say what is right, and the grader does not know it", True)
    if _FORM.search(text):
        yield Flaw(criterion, "is about form, not about what is said", False)
    topic = _TOPIC.search(text) or _BARE_TOPIC.search(text)
    if topic and not _CLAIM.search(topic["rest"]):
        yield Flaw(criterion, "names a topic; it should say which claim about it an answer must make", False)
    if _COMPOUND.search(text):
        yield Flaw(criterion, "joins several claims; half an answer could count as the whole", False)


def _share_quoted(text: str, shown: set[tuple[str, ...]]) -> float:
    """Compute the share of a text's words that stand in passages of what is shown."""
    runs = list(_list_runs(text))
    quoted = [False] * (len(runs) + _QUOTED_WORDS - 1)
    for start, run in enumerate(runs):
        if run in shown:
            quoted[start : start + _QUOTED_WORDS] = [True] * _QUOTED_WORDS
    return sum(quoted) / len(quoted)


def _list_runs(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return (tuple(words[i : i + _QUOTED_WORDS]) for i in range(len(words) - _QUOTED_WORDS + 1))
