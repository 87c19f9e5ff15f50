"""Decides which papers are eligible by year and field of study: joins full texts with the `papers` data set.

The 200 million rows are streamed once. Only ten bytes per eligible paper are kept, sorted, in files for lookup.
"""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy


@dataclass(frozen=True)
class Eligible:
    """The corpusids of the eligible papers, ascending, and the year of each."""

    ids: numpy.ndarray  # uint64
    years: numpy.ndarray  # int16

    @classmethod
    def load(cls, folder: Path) -> "Eligible":
        """Map the files that `build` wrote into memory, without reading them. Raises OSError, ValueError."""
        return cls(*(numpy.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ids", "years")))

    def year_of(self, corpusid: int) -> int | None:
        """Return the year of an eligible paper, or None for any other paper."""
        position = int(numpy.searchsorted(self.ids, numpy.uint64(corpusid)))
        is_eligible = position < len(self.ids) and int(self.ids[position]) == corpusid
        return int(self.years[position]) if is_eligible else None


class Abstracts:
    """The abstracts of eligible papers, which s2orc_v2 has as a data set of its own."""

    def __init__(self, folder: Path):
        """Map the files that `build_abstracts` wrote into memory. Raises OSError, ValueError."""
        self._ids, self._places = (numpy.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ids", "places"))
        self._file = (folder / "texts").open("rb")

    def find(self, corpusid: int) -> str:
        """Return the abstract of a paper, '' if there is none."""
        position = int(numpy.searchsorted(self._ids, numpy.uint64(corpusid)))
        if position == len(self._ids) or int(self._ids[position]) != corpusid:
            return ""
        start, length = self._places[position].tolist()
        self._file.seek(start)
        return self._file.read(length).decode("utf-8")


def build_abstracts(rows: Iterable[Mapping[str, object] | None], folder: Path, eligible: Eligible) -> dict[str, int]:
    """Write the abstracts of eligible papers in one file, with the place of each, and return the counts."""
    ids, places = array("Q"), array("Q")
    counts = dict.fromkeys(("rows", "damaged"), 0)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "texts").open("wb") as file:
        for row in rows:
            counts["damaged" if row is None else "rows"] += 1
            corpusid, abstract = (row or {}).get("corpusid"), (row or {}).get("abstract")
            if type(corpusid) is not int or not 0 <= corpusid < 1 << 63 or not isinstance(abstract, str):
                continue
            if eligible.year_of(corpusid) is not None and (words := " ".join(abstract.split())):
                ids.append(corpusid)
                start = file.tell()
                places.extend((start, file.write(words.encode("utf-8", "replace"))))
    unique, first = numpy.unique(numpy.array(ids), return_index=True)
    numpy.save(folder / "ids.npy", unique)
    numpy.save(folder / "places.npy", numpy.array(places, numpy.uint64).reshape(-1, 2)[first])
    return counts | {"joined": len(unique)}


def build(
    rows: Iterable[Mapping[str, object] | None], folder: Path, min_year: int, field_of_study: str
) -> dict[str, int]:
    """Write `ids.npy` and `years.npy`, and return the counts. A row that is None was damaged.

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
        corpusid, year = row.get("corpusid"), row.get("year")
        if type(corpusid) is not int or corpusid < 0:
            counts["without corpusid"] += 1
        # A year beyond 9,999 is a mistake in the data.
        elif isinstance(year, int) and min_year <= year <= 9_999 and _is_in(row, field_of_study):
            ids.append(corpusid)
            years.append(year)
    unique, first = numpy.unique(numpy.array(ids), return_index=True)  # sorted; the row where each id comes first
    counts |= {"eligible": len(unique), "duplicates": len(ids) - len(unique)}
    folder.mkdir(parents=True, exist_ok=True)
    numpy.save(folder / "ids.npy", unique)
    numpy.save(folder / "years.npy", numpy.array(years)[first])
    return counts


def _is_in(row: Mapping[str, object], field_of_study: str) -> bool:
    fields = row.get("s2fieldsofstudy")
    return isinstance(fields, list) and any(
        isinstance(f, dict) and f.get("category") == field_of_study for f in fields
    )
