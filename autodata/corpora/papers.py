"""Which papers are eligible by year and field of study: the join of full texts with the `papers` data set.

200 million rows are streamed once; what is kept is ten bytes per eligible paper, sorted, and looked up in a file.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy

_LAST_YEAR = 9_999  # beyond it a year is a slip
_CHUNK = 1_000_000  # ids in memory before they are written


@dataclass(frozen=True)
class Eligible:
    """The corpusids that pass, ascending, and the year of each."""

    ids: numpy.ndarray  # uint64
    years: numpy.ndarray  # int16

    @classmethod
    def load(cls, folder: Path) -> "Eligible":
        """What `build` wrote, mapped into memory and not read. Raises OSError, ValueError."""
        return cls(*(numpy.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ids", "years")))

    def year_of(self, corpusid: int) -> int | None:
        """The year of an eligible paper, else None."""
        at = int(numpy.searchsorted(self.ids, numpy.uint64(corpusid)))
        found = at < len(self.ids) and int(self.ids[at]) == corpusid
        return int(self.years[at]) if found else None


def build(rows: Iterable[Mapping[str, object]], folder: Path, min_year: int, field_of_study: str) -> dict[str, int]:
    """Write `ids.npy`, `years.npy` and `eligible.json`; the counts. Of a corpusid that comes twice the first counts.

    Memory: ten bytes per eligible paper, twice while they are sorted, and nothing for the others.
    """
    chunks, counts, chunk = [], {"rows": 0, "without corpusid": 0, "eligible": 0, "duplicates": 0}, []
    for row in rows:
        counts["rows"] += 1
        corpusid, year = row.get("corpusid"), row.get("year")
        if type(corpusid) is not int or corpusid < 0:
            counts["without corpusid"] += 1
        elif isinstance(year, int) and min_year <= year <= _LAST_YEAR and _is_in(row, field_of_study):
            chunk.append((corpusid, year))
        if len(chunk) == _CHUNK:
            chunks.append(_pack(chunk))
            chunk = []
    packed = numpy.concatenate([*chunks, _pack(chunk)])
    ids, first = numpy.unique(packed["id"], return_index=True)  # sorted; the first of equals
    counts |= {"eligible": len(ids), "duplicates": len(packed) - len(ids)}
    folder.mkdir(parents=True, exist_ok=True)
    numpy.save(folder / "ids.npy", ids)
    numpy.save(folder / "years.npy", packed["year"][first])
    asked = {"min_year": min_year, "field_of_study": field_of_study, **counts}
    (folder / "eligible.json").write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")
    return counts


def _is_in(row: Mapping[str, object], field_of_study: str) -> bool:
    fields = row.get("s2fieldsofstudy")
    return isinstance(fields, list) and any(
        isinstance(f, dict) and f.get("category") == field_of_study for f in fields
    )


def _pack(chunk: list[tuple[int, int]]) -> numpy.ndarray:
    return numpy.array(chunk, dtype=[("id", numpy.uint64), ("year", numpy.int16)])
