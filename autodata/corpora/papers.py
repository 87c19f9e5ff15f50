"""Decides which papers are eligible by year and field of study: joins full texts with the `papers` data set.

The 200 million rows are streamed once, in parallel, one part of the result per task. Only ten bytes per eligible paper
are kept, sorted, in files for lookup.
"""

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy

from autodata.run.records import write_file

Rows = Iterable[Mapping[str, object] | None]  # None is a row that was damaged
_COUNTS = "counts.json"


@dataclass(frozen=True)
class Eligible:
    """The corpusids of the eligible papers, ascending, and the year of each."""

    ids: numpy.ndarray  # uint64
    years: numpy.ndarray  # int16

    @classmethod
    def load(cls, folder: Path) -> "Eligible":
        """Map the files of `build` or `merge` into memory, without reading them. Raises OSError, ValueError."""
        return cls(*(numpy.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ids", "years")))

    def year_of(self, corpusid: int) -> int | None:
        """Return the year of an eligible paper, or None for any other paper."""
        position = int(numpy.searchsorted(self.ids, numpy.uint64(corpusid)))
        is_eligible = position < len(self.ids) and int(self.ids[position]) == corpusid
        return int(self.years[position]) if is_eligible else None


class Abstracts:
    """The abstracts of eligible papers, which s2orc_v2 has as a data set of its own."""

    def __init__(self, folder: Path):
        """Map the files that `merge_abstracts` wrote into memory. Raises OSError, ValueError."""
        self._ids, self._places = (numpy.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ids", "places"))
        self._texts = [path.open("rb") for path in sorted(folder.glob("*/texts"))]

    def find(self, corpusid: int) -> str:
        """Return the abstract of a paper, '' if there is none."""
        position = int(numpy.searchsorted(self._ids, numpy.uint64(corpusid)))
        if position == len(self._ids) or int(self._ids[position]) != corpusid:
            return ""
        part, start, length = self._places[position].tolist()
        self._texts[part].seek(start)
        return self._texts[part].read(length).decode("utf-8")


def build(rows: Rows, folder: Path, min_year: int, field_of_study: str) -> dict[str, int]:
    """Write `ids.npy` and `years.npy` of the eligible papers among some rows, and return the counts.

    If a corpusid comes twice, its first row counts. Memory: ten bytes per eligible paper, doubled while they are
    sorted, and nothing for the other papers.
    """
    ids, years = array("Q"), array("h")
    counts = dict.fromkeys(("rows", "without corpusid", "eligible", "duplicates", "damaged"), 0)
    for row in rows:
        if row is None:
            counts["damaged"] += 1
            continue
        counts["rows"] += 1
        corpusid, year = _read_id(row), read_number(row.get("year"))
        if corpusid is None:
            counts["without corpusid"] += 1
        # A year beyond 9,999 is a mistake in the data.
        elif year is not None and min_year <= year <= 9_999 and _is_in(row, field_of_study):
            ids.append(corpusid)
            years.append(year)
    return _save(folder, numpy.array(ids), numpy.array(years), counts)


def merge(folder: Path, tasks: int) -> dict[str, int]:
    """Join the parts that `build` wrote into `folder`, in the order of the tasks, once, and return the counts."""
    if (folder / _COUNTS).exists():  # another command may have mapped the files into memory
        return json.loads((folder / _COUNTS).read_text())
    parts = [folder / f"{task:05d}" for task in range(tasks)]
    ids, years = (numpy.concatenate([numpy.load(part / f"{name}.npy") for part in parts]) for name in ("ids", "years"))
    return _save(folder, ids, years, _add_counts(parts))


def build_abstracts(rows: Rows, folder: Path, eligible: Eligible) -> dict[str, int]:
    """Write the abstracts of eligible papers in one file, with the place of each, and return the counts."""
    ids, places = array("Q"), array("Q")
    counts = dict.fromkeys(("rows", "damaged"), 0)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "texts").open("wb") as file:
        for row in rows:
            counts["damaged" if row is None else "rows"] += 1
            corpusid, abstract = _read_id(row or {}), (row or {}).get("abstract")
            if corpusid is None or not isinstance(abstract, str):
                continue
            if eligible.year_of(corpusid) is not None and (words := " ".join(abstract.split())):
                ids.append(corpusid)
                start = file.tell()
                places.extend((start, file.write(words.encode("utf-8", "replace"))))
    numpy.save(folder / "ids.npy", numpy.array(ids))
    numpy.save(folder / "places.npy", numpy.array(places, numpy.uint64).reshape(-1, 2))
    write_file(folder / _COUNTS, json.dumps(counts))
    return counts


def merge_abstracts(folder: Path, tasks: int) -> dict[str, int]:
    """Write, once, where the first abstract of each paper is: part of `build_abstracts`, start and length."""
    if (folder / _COUNTS).exists():
        return json.loads((folder / _COUNTS).read_text())
    parts = [folder / f"{task:05d}" for task in range(tasks)]
    places = [numpy.load(part / "places.npy") for part in parts]
    numbered = [numpy.insert(of_part, 0, part, axis=1) for part, of_part in enumerate(places)]
    ids, first = numpy.unique(numpy.concatenate([numpy.load(p / "ids.npy") for p in parts]), return_index=True)
    numpy.save(folder / "places.npy", numpy.concatenate(numbered)[first])
    numpy.save(folder / "ids.npy", ids)
    counts = {**_add_counts(parts), "joined": len(ids)}
    write_file(folder / _COUNTS, json.dumps(counts))
    return counts


def count_papers(folder: Path) -> dict[str, int]:
    """Return the counts of `merge` and, if there are abstracts, of `merge_abstracts`."""
    counts = json.loads((folder / _COUNTS).read_text())
    file = folder / "abstracts" / _COUNTS
    joined = json.loads(file.read_text()) if file.exists() else {}
    return counts | {f"abstracts {name}": count for name, count in joined.items()}


def _save(folder: Path, ids: numpy.ndarray, years: numpy.ndarray, counts: dict[str, int]) -> dict[str, int]:
    """Write the papers sorted by id, each with the year that comes first, and return the counts."""
    unique, first = numpy.unique(ids, return_index=True)
    duplicates = counts["duplicates"] + len(ids) - len(unique)
    counts = counts | {"eligible": len(unique), "duplicates": duplicates}
    folder.mkdir(parents=True, exist_ok=True)
    numpy.save(folder / "years.npy", years[first])
    numpy.save(folder / "ids.npy", unique)
    write_file(folder / _COUNTS, json.dumps(counts))
    return counts


def _add_counts(parts: Iterable[Path]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(json.loads((part / _COUNTS).read_text()))
    return dict(total)


def _read_id(row: Mapping[str, object]) -> int | None:
    """Return the corpusid of a row, None if it has none."""
    return read_number(row.get("corpusid"))


def read_number(value: object) -> int | None:
    """Return a number, which may be written as a string, or as a float where others of its column are missing."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer() and value < 1 << 53:
        value = int(value)
    return value if type(value) is int and 0 <= value < 1 << 63 else None


def _is_in(row: Mapping[str, object], field_of_study: str) -> bool:
    fields = row.get("s2fieldsofstudy")
    return isinstance(fields, list) and any(
        isinstance(f, dict) and f.get("category") == field_of_study for f in fields
    )
