"""Finds texts that speak to the one who answers: a question must only pose its problem.

Papers on language models speak of small and strong models all the time, and of graders, scores and pretending. So code
refuses only a sentence that can mean nothing else: it tells a kind of solver what to do with this question, orders the
reader to act or to fail, or says how this answer is graded. All else is a hint, and the verifier decides.
"""

import re
from collections.abc import Iterator

from autodata.loop.checks.likely import LIKELY, UNSURE

SPEAKS_OF_SOLVERS = "the text speaks of solvers or grading; it must only pose the problem"

_SOLVER = (
    r"(?:(?:weak|strong|small|large|smart|advanced|capable|limited|powerful)(?:er|est)?|less capable|more capable|ai"
    r"|medium)(?:,? (?:or|and) (?:weak|strong|small|medium|large)(?:er)?)? (?:language |ai )?"
    r"(?:solver|model|llm|assistant|chatbot)s?"
)
_THIS = r"(?:this (?:question|prompt|exercise)|the above question|your (?:answer|response|reply))"
_MUST = (
    r"(?:should|must|may|shall|need(?:s|ed)? (?:to|only)|please|(?:is|are) (?:free|allowed|expected|meant|told) to)"
)
# Where an order to the reader begins: a sentence or a clause after a colon or dash, or "please" and "you must".
_COMMAND = (
    r"(?:(?:^|[:;\N{EN DASH}\N{EM DASH}(] ?)(?:(?:please|then|now|instead|just|simply),? )*"
    r"|\bplease (?:just |simply )?|\byou (?:should|must) (?:then |just |simply )?)"
)
_IGNORANT = r"(?:(?:an? )?(?:novice|beginner|layperson|amateur|child|weak (?:model|solver))\b)"
_CERTAIN = (
    # who is addressed, and what is instructed
    rf"\b{_SOLVER}\b[^.?!]{{0,60}}\b{_MUST}\b(?! be able)[^.?!]*\b{_THIS}",
    rf"^(?:for|in) {_THIS},? {_SOLVER} {_MUST}\b",
    rf"\b(?:if|when|unless|since|because|as) you(?:'re| are) (?:only )?(?:an? |the )?"
    rf"(?:{_SOLVER}|(?:small |large )?language model|llm)\b(?! (?:of|in|for|that)\b)(?=[^.?!]*[,;:])",
    rf"\b{_SOLVER} {_MUST} (?:answer|respond|reply) (?:wrongly|incorrectly|badly|poorly|at random) here\b",
    rf"^unless you are (?:an? |the )?{_SOLVER}\b",
    rf"\bas (?:an? |the ){_SOLVER}, you\b|\byou, (?:as )?(?:an? |the ){_SOLVER},",
    rf"^(?:note|hint|reminder|warning|advice|instruction|message)s? (?:for|to) (?:all |any |the )?{_SOLVER}\s?[:,]",
    rf"^(?:dear|hey|hello|attention) (?:all )?{_SOLVER}\b",
    rf"^(?:all |any |the )?{_SOLVER}\s?: (?:please |just )?(?:answer|respond|reply|skip|guess|stop|refuse|leave"
    r"|give up|ignore|fail)\b",
    rf"\b{_THIS}[^.?!]{{0,20}}\b(?:meant|designed|intended|written|reserved|made) (?:only )?(?:for|so|to)\b"
    rf"[^.?!]*\b{_SOLVER}\b",
    r"\bif you have (?:fewer|less|under|more) [^.?!]{0,20}(?:\db|billion) parameters,",
    # acting and failing
    rf"{_COMMAND}pretend (?:that )?you (?:know nothing|(?:have|had) never|are {_IGNORANT})",
    rf"{_COMMAND}pretend to be (?:confused|dumb|stupid|clueless|ignorant|{_IGNORANT})",
    rf"{_COMMAND}play (?:dumb|stupid)\b",
    rf"{_COMMAND}(?:answer|act|respond|reply) as (?:if|though) you (?:had not|hadn't|had never|knew nothing"
    rf"|(?:were|are) {_IGNORANT})",
    rf"{_COMMAND}(?:answer|respond|reply) (?:only )?(?:as|like) {_IGNORANT}",
    rf"{_COMMAND}(?:deliberately|intentionally|purposely|on purpose,?) (?:answer|respond|reply|underperform)\b",
    rf"{_COMMAND}(?:answer|respond|reply|underperform|guess) (?:only )?(?:wrong(?:ly)?|incorrectly|badly|poorly"
    r"|at random|randomly|carelessly|vaguely|on purpose|deliberately)(?! (?:cho|dr|sam|sel))",
    rf"{_COMMAND}(?:give|write|produce) (?:only )?an? (?:deliberately |intentionally )?(?:wrong|incorrect|vague|bad"
    r"|random|careless|useless|poor) (?:answer|response|reply)",
    rf"{_COMMAND}(?:do not|don't|never) (?:(?:think|reason)(?: before| at all| step|[,.!]|$)|try (?:too )?hard)",
    rf"{_COMMAND}(?:skip|ignore|leave out|disregard) (?:the )?(?:first|second|last|rest|remaining|other) ?"
    rf"(?:half|parts?|portion)? of (?:{_THIS}|the (?:question|prompt|exercise))",
    rf"{_COMMAND}(?:say|reply|state)(?: only| just)? that you (?:do not|don't|cannot|can't) (?:know|tell|answer"
    r"|say)\.?$",
    # grading
    r"\byour (?:answer|response|reply) (?:will be|is|gets) (?:graded|scored|marked)\b",
    r"\bthis (?:answer|response|reply) (?:will be|is) graded\b|\byou (?:will be|are being) graded\b",
    r"\byou (?:will )?(?:get|earn|receive|gain) (?:\w{1,12} )?(?:points?|marks|credit) (?:for|if you) (?:saying|say"
    r"|naming|name|mention(?:ing)?|stating|state)\b",
    r"^to (?:earn|get|receive|gain|obtain|achieve|secure) (?:full|most of the|maximum|all|extra|partial) "
    r"(?:marks?|credits?),",
    r"\b(?:full|extra|maximum|most|partial|bonus) (?:marks|credit|points)\b(?: (?:is|are|will be) (?:given|awarded"
    r"|granted)| goes?)? (?:for|to) (?:naming|mentioning|saying|stating|whoever (?:names|mentions|says))\b",
)  # fmt: skip
_SENTENCE = re.compile(r"(?<=[.?!])\s+|;\s+")
_MAX_CHARS = 600  # a longer sentence is read in overlapping parts of this length
_IS_CERTAIN, _IS_LIKELY, _IS_DOUBTFUL = (
    re.compile("|".join(f"(?:{p})" for p in rules), re.IGNORECASE) for rules in (_CERTAIN, LIKELY, (*LIKELY, *UNSURE))
)
# The self-test of a challenger (paper Fig. 7): it shall read its question as somebody without the document.
_SELF_TEST = re.compile(
    r"\b(?:pretend|imagine)\b[^.?!]*\b(?:paper|document|source|opinion|case|text|manuscript)\b", re.IGNORECASE
)


def speaks_of_solvers(text: str) -> bool:
    """True if a text certainly instructs a solver, asks it to act, or tells what is graded (paper Sec. 6)."""
    return any(_IS_CERTAIN.search(sentence) for sentence in _list_sentences(text))


def speaks_anew(text: str, original: str) -> bool:
    """True if a prompt has a sentence that seems to speak of solvers, and the prompt that it was made of has not."""
    return not set(_list_likely(text)) <= set(_list_likely(original))


def _list_likely(text: str) -> Iterator[str]:
    for sentence in _list_sentences(text):
        if (_IS_CERTAIN.search(sentence) or _IS_LIKELY.search(sentence)) and not _SELF_TEST.search(sentence):
            yield sentence


def find_doubtful(text: str) -> str:
    """Return the first sentence that may do so, for a verifier to decide, or an empty string."""
    doubtful = (s for s in _list_sentences(text) if _IS_DOUBTFUL.search(s) and not _IS_CERTAIN.search(s))
    return next(doubtful, "")


def list_hints(text: str) -> list[str]:
    """List what a verifier should look at, in words: at most one sentence."""
    doubtful = find_doubtful(text)
    return [f"“{doubtful[:300]}”: a part of the problem, or an order to whoever answers?"] if doubtful else []


def _list_sentences(text: str) -> Iterator[str]:
    """Yield the sentences of each paragraph, and those of each line, which may begin with an order of its own."""
    paragraphs = re.split(r"\n\s*\n", text)
    lines = text.splitlines() if "\n" in text else []
    for part in dict.fromkeys(" ".join(part.split()) for part in (*paragraphs, *lines)):
        for sentence in _SENTENCE.split(part):
            # A text without ends of sentences is cut, because the patterns take time in its square.
            yield from (sentence[at : at + _MAX_CHARS] for at in range(0, max(len(sentence), 1), _MAX_CHARS - 100))
