"""Finds documents that contain a text of a benchmark: 13 equal words in a row, or a whole text of 8 to 12 words.

The rules, and how a text is split into words, are those by which a dataset's examples are decontaminated.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodata.config import RecipeError
from autodata.corpora.record import Drop
from autodata.corpora.text.words import Gram, grams, split_words

NGRAM = 13
SHORT = 8  # a text of fewer words is too common to search for inside others: it must be equal
REASON = "contains a text of a benchmark"
_SUFFIXES = (".jsonl", ".parquet", ".txt")
_DOWNLOADS = {
    "prbench": "hf download ScaleAI/PRBench --repo-type dataset --local-dir {path} (CC-BY-4.0)",
    "principia": "hf download facebook/principia-bench --repo-type dataset --local-dir {path}",
}


@dataclass(frozen=True)
class Text:
    """A text that no example or document may contain, and the place it comes from."""

    where: str
    text: str


class Benchmarks:
    """Checks documents against the texts of benchmark files."""

    def __init__(self, texts: Iterable[Text]):
        self._folded: dict[Gram, str] = {}  # 13 words, with every number as 0
        self._whole: dict[int, dict[Gram, str]] = {}  # whole texts by their number of words
        for text in texts:
            words = split_words(text.text)
            if SHORT <= len(words) < NGRAM:
                self._whole.setdefault(len(words), {}).setdefault(tuple(words), text.where)
            for gram in grams(fold(words), NGRAM):
                self._folded.setdefault(gram, text.where)

    @classmethod
    def read(cls, paths: Sequence[str]) -> "Benchmarks":
        """Read the files that a recipe names. Raises RecipeError."""
        return cls(read_texts(find_files(paths)))

    def check(self, text: str) -> None:
        """Raise Drop with the shared words, and where they come from."""
        if not self._folded and not self._whole:
            return
        words = split_words(text)
        kinds = [(self._folded, grams(fold(words), NGRAM))]
        kinds += [(texts, grams(words, size)) for size, texts in self._whole.items()]
        for texts, parts in kinds:
            if found := next((gram for gram in parts if gram in texts), None):
                raise Drop(REASON, f"{texts[found]}: {' '.join(found)}")


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


def fold(words: Iterable[str]) -> list[str]:
    """Replace every number by 0; with `split_words`, this is what datatrove's own decontamination does."""
    return ["0" if word[0].isdigit() else word for word in words]


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
