"""Begins sentences about a passage whose ends code knows. Every skill is one kind of sentence.

A skill takes the words of a passage and returns every beginning of its kind that has exactly one right end; none if
the passage has no such beginning.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

Words = Sequence[str]  # at least four, without the punctuation around them
MAX_BACKWARDS = 7  # letters; a longer word written backwards would not fit the budget of an answer
NUMBERED = ("first", "second", "third", "fourth")


@dataclass(frozen=True)
class Task:
    """The beginning of a sentence about a passage, and the one answer that ends it rightly."""

    beginning: str
    answer: str


Skill = Callable[[Words], list[Task]]


def find_once(words: Words) -> list[str]:
    """List the words that occur once, whatever their case."""
    counts = Counter(map(str.casefold, words))
    return [word for word in words if counts[word.casefold()] == 1]


def ask_position(place: str, index: int) -> Skill:
    return lambda words: [Task(f"The {place} word is", words[index])]


def ask_part(place: str, part: slice) -> Skill:
    return lambda words: [Task(f"The {place} two words are", " ".join(words[part]))]


def ask_next(words: Words) -> list[Task]:
    once = find_once(words)
    return [Task(f"The word right after “{a}” is", b) for a, b in pairwise(words) if a in once]


def ask_previous(words: Words) -> list[Task]:
    once = find_once(words)
    return [Task(f"The word right before “{b}” is", a) for a, b in pairwise(words) if b in once]


def ask_between(words: Words) -> list[Task]:
    once = find_once(words)
    triples = zip(words, words[1:], words[2:], strict=False)
    return [Task(f"The word between “{a}” and “{c}” is", b) for a, b, c in triples if a in once and c in once]


def ask_missing(words: Words) -> list[Task]:
    """Ask for the word that a copy of the passage leaves out."""
    copies = [" ".join([*words[:i], "___", *words[i + 1 :]]) for i in range(1, len(words))]
    return [Task(f"In “{copy}” the missing word is", words[i]) for i, copy in enumerate(copies, 1)]


def ask_longest(words: Words) -> list[Task]:
    return _ask_extreme("longest", words, max(map(len, words)))


def ask_shortest(words: Words) -> list[Task]:
    return _ask_extreme("shortest", words, min(map(len, words)))


def _ask_extreme(name: str, words: Words, length: int) -> list[Task]:
    fitting = [word for word in words if len(word) == length]
    return [Task(f"The {name} word is", fitting[0])] if len(fitting) == 1 else []


def ask_beginning(words: Words) -> list[Task]:
    counts = Counter(word[0].casefold() for word in words)
    once = [word for word in words if counts[word[0].casefold()] == 1]
    return [Task(f"The word that begins with “{word[0].casefold()}” is", word) for word in once]


def ask_ending(words: Words) -> list[Task]:
    counts = Counter(word[-1].casefold() for word in words)
    once = [word for word in words if counts[word[-1].casefold()] == 1]
    return [Task(f"The word that ends with “{word[-1].casefold()}” is", word) for word in once]


def ask_first_letter(words: Words) -> list[Task]:
    return [Task(f"The first letter of “{word}” is", word[0]) for word in find_long(words)]


def ask_last_letter(words: Words) -> list[Task]:
    return [Task(f"The last letter of “{word}” is", word[-1]) for word in find_long(words)]


def ask_capitals(words: Words) -> list[Task]:
    return [Task(f"In capital letters “{word}” is", word.upper()) for word in find_long(words)]


def ask_backwards(words: Words) -> list[Task]:
    short = [word for word in find_long(words) if len(word) <= MAX_BACKWARDS]
    return [Task(f"Backwards “{word}” is", word[::-1]) for word in short]


def find_long(words: Words) -> list[str]:
    """List the words of at least three letters, each once."""
    return [word for word in dict.fromkeys(words) if len(word) >= 3 and word.isalpha()]


def ask_number_of_words(words: Words) -> list[Task]:
    return [Task("The number of words is", str(len(words)))]


def ask_number_of_letters(words: Words) -> list[Task]:
    return [Task(f"The number of letters of “{word}” is", str(len(word))) for word in find_long(words)]


def ask_sum(words: Words) -> list[Task]:
    return [
        Task(f"“{a}” has {len(a)} letters and “{b}” has {len(b)}. {len(a)} + {len(b)} =", str(len(a) + len(b)))
        for a, b in pairwise(find_long(words))
    ]


def ask_difference(words: Words) -> list[Task]:
    pairs = [sorted(pair, key=len, reverse=True) for pair in pairwise(find_long(words))]
    return [
        Task(f"“{a}” has {len(a)} letters and “{b}” has {len(b)}. {len(a)} - {len(b)} =", str(len(a) - len(b)))
        for a, b in pairs
    ]


def ask_product(words: Words) -> list[Task]:
    return [
        Task(f"“{a}” has {len(a)} letters and “{b}” has {len(b)}. {len(a)} x {len(b)} =", str(len(a) * len(b)))
        for a, b in pairwise(find_long(words))
    ]


def ask_which_first(words: Words) -> list[Task]:
    """Ask which of two words comes first; half of the beginnings name them in the order of the passage."""
    pairs = list(combinations(find_once(words), 2))
    return [
        Task(f"Of “{first}” and “{second}” the one that comes first in the text is", pair[0])
        for number, pair in enumerate(pairs)
        for first, second in [pair if number % 2 else pair[::-1]]
    ]


def ask_alphabet(words: Words) -> list[Task]:
    """Ask which of two words comes first in the alphabet; their first letters differ."""
    pairs = [(a, b) for a, b in pairwise(find_long(words)) if a[0].casefold() != b[0].casefold()]
    return [
        Task(f"Of “{a}” and “{b}” the one that comes first in the alphabet is", min(a, b, key=str.casefold))
        for a, b in pairs
    ]


SKILLS: dict[str, Skill] = {
    **{f"{place} word": ask_position(place, index) for index, place in enumerate(NUMBERED)},
    "last word": ask_position("last", -1),
    "second last word": ask_position("second last", -2),
    "first two words": ask_part("first", slice(2)),
    "last two words": ask_part("last", slice(-2, None)),
    "next word": ask_next,
    "previous word": ask_previous,
    "word between": ask_between,
    "missing word": ask_missing,
    "longest word": ask_longest,
    "shortest word": ask_shortest,
    "word by first letter": ask_beginning,
    "word by last letter": ask_ending,
    "first letter": ask_first_letter,
    "last letter": ask_last_letter,
    "capitals": ask_capitals,
    "backwards": ask_backwards,
    "number of words": ask_number_of_words,
    "number of letters": ask_number_of_letters,
    "sum": ask_sum,
    "difference": ask_difference,
    "product": ask_product,
    "which comes first": ask_which_first,
    "alphabet": ask_alphabet,
}
