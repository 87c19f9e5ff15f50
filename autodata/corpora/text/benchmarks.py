"""Finds documents that contain a text of a benchmark: 13 equal words in a row, or a whole text of 8 to 12 words.

The rules, and how a text is split into words, are those by which a dataset's examples are decontaminated.
"""

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodata.config import RecipeError
from autodata.corpora.record import Drop
from autodata.corpora.remote.files import walk
from autodata.corpora.rows import BROKEN, PACKED, open_file, split_ending
from autodata.corpora.text import parquet
from autodata.corpora.text.encodings import decode
from autodata.corpora.text.words import Gram, grams, split_words

NGRAM = 13
SHORT = 8  # a text of fewer words is too common to search for inside others: it must be equal
REASON = "contains a text of a benchmark"
_LINES, _TABLES = (".jsonl", ".ndjson", ".json", ".txt"), {".csv": ",", ".tsv": "\t"}
_READ = (*_LINES, *_TABLES)
_KINDS = f"{', '.join(_READ)} (also {', '.join(PACKED)}) or .parquet"
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
        below = [file for file in _list_below(path) if _can_read(file)]
        if not below:
            raise RecipeError(
                f"decontaminate: {path}: no {_KINDS} file there; "
                f"{_advise(path)}, or write decontaminate: [] to go without"
            )
        files += below
    return files


def count_left_out(paths: Sequence[str]) -> Counter[str]:
    """Count, by their ending, the files in these folders that `find_files` leaves out."""
    files = (file for path in paths for file in _list_below(Path(path)))
    return Counter("".join(split_ending(file.name)) or "no ending" for file in files if not _can_read(file))


def count_short(texts: Iterable[Text]) -> int:
    """Count the texts that have too few words to be searched for."""
    return sum(len(split_words(text.text)) < SHORT for text in texts if text.text.strip())


def describe_left_out(counts: Mapping[str, int]) -> str:
    """Write which files were left out, for the user."""
    return f"files left out of decontaminate, which reads {_KINDS}: " + ", ".join(
        f"{ending}: {count:,}" for ending, count in counts.items()
    )


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


def _list_below(path: Path) -> list[Path]:
    """List the files in a folder, without hidden ones, or the file itself."""
    if not path.is_dir():
        return [path] if path.is_file() else []
    return sorted(p for p in walk(path) if p.is_file() or not p.exists())  # a link to nowhere is an error later


def _can_read(file: Path) -> bool:
    kind, packed = split_ending(file.name)
    return kind in _READ or (kind == ".parquet" and not packed)


def _read_rows(file: Path) -> Iterator[Any]:
    kind, _ = split_ending(file.name)
    if kind == ".parquet":
        yield from _read_parquet(file)
        return
    text = _read_text(file)
    if kind in _TABLES:
        csv.field_size_limit(sys.maxsize)  # a context can be longer than the default allows
        yield from csv.reader(io.StringIO(text), delimiter=_TABLES[kind])
    elif kind == ".txt":
        yield from text.split("\n")
    else:
        yield from _read_json(file, text, may_be_one=kind == ".json")


def _read_text(file: Path) -> str:
    try:
        with open_file(file) as source:
            return decode(source.read())[0]
    except (*BROKEN, OSError, Drop) as error:
        raise RecipeError(f"decontaminate: {file}: cannot be read ({error}); download it again") from error


def _read_json(file: Path, text: str, *, may_be_one: bool) -> Iterator[Any]:
    """Yield the value of each line, or of a .json file the items of its list, or all that it holds."""
    if may_be_one:
        with suppress(ValueError):
            value = json.loads(text)
            yield from value if isinstance(value, list) else [value]
            return
    for number, line in enumerate(text.split("\n"), 1):
        try:
            yield json.loads(line) if line.strip() else None
        except ValueError as error:
            raise RecipeError(
                f"decontaminate: {file}:{number}: not JSON ({error}); download the file again"
            ) from error


def _read_parquet(file: Path) -> Iterator[Any]:
    try:
        yield from (row for row, _ in parquet.read_texts(file))
    except (EOFError, OSError) as error:
        raise RecipeError(f"decontaminate: {file}: not a parquet file ({error}); download it again") from error


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
