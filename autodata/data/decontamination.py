"""Finds examples that overlap with a benchmark or with held-out examples: 13 equal words in a row are too many.

In a script without spaces each character counts as a word. Numbers, case, diacritics and the division of words at the
end of a line make no difference.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodata.config import RecipeError
from autodata.corpora.text.words import Gram, grams, split_words
from autodata.types import Example

NGRAM = 13
SHORT = 8  # a text of fewer words is too common to search for inside others: it must be equal
_SUFFIXES = (".jsonl", ".parquet", ".txt")
_DOWNLOADS = {
    "prbench": "hf download ScaleAI/PRBench --repo-type dataset --local-dir {path} (CC-BY-4.0)",
    "principia": "hf download facebook/principia-bench --repo-type dataset --local-dir {path}",
}


@dataclass(frozen=True)
class Text:
    """A text that no example may contain, and the place it comes from."""

    where: str
    text: str


@dataclass(frozen=True)
class Match:
    """The reason why an example is contaminated: the shared words and where they come from."""

    example_id: str
    arm: str
    against: str
    ngram: str


def find_files(paths: Sequence[str]) -> list[Path]:
    """List the benchmark files that a recipe names; a folder stands for all files below it. Raises RecipeError."""
    files = []
    for path in map(Path, paths):
        below = path.rglob("*") if path.is_dir() else [path]
        below = sorted(p for p in below if p.is_file() and p.suffix in _SUFFIXES)
        if not below:
            raise RecipeError(
                f"decontaminate: {path}: no {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]} file there; "
                f"{_advise(path)}, or write decontaminate: [] to go without"
            )
        files += below
    return files


def read_texts(files: Iterable[Path]) -> list[Text]:
    """Read every string in every row, however deeply nested (prompts, references, rubrics). Raises RecipeError."""
    return [
        Text(f"{file.name}:{number}", text)
        for file in files
        for number, row in enumerate(_read_rows(file), 1)
        for text in sorted(set(_find_strings(row)))
    ]


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


def fold(words: Iterable[str]) -> list[str]:
    """Replace every number by 0; with `split_words`, this is what datatrove's own decontamination does."""
    return ["0" if word[0].isdigit() else word for word in words]


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


def _read_rows(file: Path) -> Iterator[Any]:
    if file.suffix == ".parquet":
        yield from _read_parquet(file)
        return
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if file.suffix == ".txt":
            yield line.decode(errors="replace")
            continue
        try:
            yield json.loads(line) if line.strip() else None
        except ValueError as error:
            raise RecipeError(
                f"decontaminate: {file}:{number}: not JSON ({error}); download the file again"
            ) from error


def _read_parquet(file: Path) -> Iterator[Any]:
    from pyarrow import ArrowInvalid, parquet  # slow to import, needed here only

    try:
        table = parquet.ParquetFile(file)
    except ArrowInvalid as error:
        raise RecipeError(f"decontaminate: {file}: not a parquet file ({error}); download it again") from error
    for batch in table.iter_batches(batch_size=64):
        yield from batch.to_pylist()


def _find_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _find_strings(item)


def _advise(path: Path) -> str:
    command = next((text for name, text in _DOWNLOADS.items() if name in str(path).casefold()), None)
    folder = path.parent if path.suffix else path
    return f"get it with {command.format(path=folder)}" if command else "put the benchmark there"
