"""Finds examples that overlap with a benchmark or with held-out examples: 13 equal words in a row are too many.

In a script without spaces each character counts as a word. Numbers, case, diacritics and the division of words at the
end of a line make no difference.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from autodata.corpora.text.benchmarks import NGRAM, SHORT, Text, fold
from autodata.corpora.text.words import Gram, grams, split_words
from autodata.types import Example


@dataclass(frozen=True)
class Match:
    """The reason why an example is contaminated: the shared words and where they come from."""

    example_id: str
    arm: str
    against: str
    ngram: str


def gather_texts(examples: Iterable[Example]) -> list[Text]:
    """Turn held-out examples into texts that others may not contain: the whole example, and its question alone."""
    return [Text(f"held-out {e.id}", text) for e in examples for text in (" ".join(_texts(e)), e.candidate.question)]


def count_unchecked(texts: Iterable[Text]) -> dict[str, int]:
    """Count the texts that `find_matches` cannot search for everywhere: they are too short, or have no words."""
    lengths = [len(split_words(text.text)) for text in texts if text.text.strip()]
    return {
        "without words": lengths.count(0),
        f"of fewer than {SHORT} words, compared only with whole questions": sum(0 < n < SHORT for n in lengths),
    }


def find_matches(examples: Sequence[Example], texts: Iterable[Text]) -> list[Match]:
    """Return one match for each example that shares too many words with any text, in the order of the examples."""
    hints = {hash(gram) for e in examples for gram in _parts(e)}  # hashes save memory: there are millions of n-grams
    questions = {words for e in examples if (words := _short_question(e))}
    sizes = {len(question) for question in questions if len(question) >= SHORT}
    inside: dict[Gram, str] = {}
    whole: dict[Gram, str] = {}
    for text in texts:
        words = split_words(text.text)
        is_short = SHORT <= len(words) < NGRAM  # such a text is searched for as a whole
        for gram in grams(words, len(words)) if is_short else grams(fold(words), NGRAM):
            if hash(gram) in hints:
                inside.setdefault(gram, text.where)
        # A short question may equal the whole text, or a part of it if the question is long enough.
        for gram in questions & {tuple(words)}.union(*(grams(words, size) for size in sizes)):
            whole.setdefault(gram, text.where)
    return [Match(e.id, e.arm, *match) for e in examples if (match := _first(e, inside, whole))]


def _first(example: Example, inside: Mapping[Gram, str], whole: Mapping[Gram, str]) -> tuple[str, str] | None:
    question = _short_question(example)
    if question in whole:
        return whole[question], " ".join(question)
    gram = next((g for g in _parts(example) if g in inside), None) if inside else None
    return (inside[gram], " ".join(gram)) if gram else None


def _parts(example: Example) -> Iterator[Gram]:
    """Yield the n-grams of an example that no text may contain: 13 words of anything, 8 to 12 of the question."""
    yield from grams(fold(split_words(" ".join(_texts(example)))), NGRAM)
    question = split_words(example.candidate.question)  # not folded: short questions may differ only in a number
    for size in range(SHORT, NGRAM):  # a short benchmark text can be a part of the question
        yield from grams(question, size)


def _short_question(example: Example) -> Gram:
    words = tuple(split_words(example.candidate.question))
    return words if len(words) < NGRAM else ()


def _texts(example: Example) -> list[str]:
    """List the texts of an example in reading order, so that n-grams across their ends count too."""
    candidate = example.candidate
    return [t for t in (candidate.context, candidate.question, candidate.reference_answer) if t]
