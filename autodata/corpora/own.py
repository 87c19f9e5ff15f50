"""Reads the user's own texts: .txt, .md, .jsonl, .parquet and .pdf files."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from autodata.corpora.pdf import read_pdf
from autodata.corpora.principia import write_problem
from autodata.corpora.record import Drop, Record, decode, normalize, require_drawn, require_length
from autodata.corpora.rows import BadRow, Row, read_rows
from autodata.recipes.corpora import OwnFilters

TEXTS = (".txt", ".md", ".pdf")
SUFFIXES = (*TEXTS, ".jsonl", ".jsonl.gz", ".jsonl.xz", ".jsonl.zst", ".parquet")
MAX_TEXT_BYTES = 20_000_000  # beyond this a .txt or .md file is a corpus or a dump, not a document
MAX_PDF_BYTES = 200_000_000
_NOT_FIELDS = {"id", "text", "preparation"}  # `preparation` comes from a domain, never from a record


def read(path: Path, name: str) -> Iterator[Row | BadRow]:
    """Iterate over the rows of one file, whose name in them is `name`. A text or a PDF is one row."""
    return iter([_read_text(path, name)]) if path.suffix.lower() in TEXTS else read_rows(path, name)


def parse(row: Row, filters: OwnFilters, one_in: int = 1) -> Record:
    """Make the document of a row. Its id is the record's own, or else its place in the files. Raises Drop."""
    is_record = Path(row.file).suffix.lower() not in TEXTS
    identity = row.value.get("id", f"{row.file}:{row.line}" if is_record else row.file)
    if not isinstance(identity, str | int):
        raise Drop("`id` is neither text nor a number")
    require_drawn(str(identity), one_in)
    text = normalize(_find_text(row.value))
    if not text:
        raise Drop("empty")
    require_length(text, filters.min_chars, filters.max_chars)
    kept = {k: v for k, v in row.value.items() if k not in _NOT_FIELDS and isinstance(v, str | int | float)}
    fields = {k: normalize(v) if isinstance(v, str) else v for k, v in kept.items()}
    licence = fields.pop("licence", "") or fields.pop("license", "") or filters.licence
    return Record(str(identity), text, str(licence), fields)


def _read_text(path: Path, name: str) -> Row | BadRow:
    is_pdf = path.suffix.lower() == ".pdf"
    limit = MAX_PDF_BYTES if is_pdf else MAX_TEXT_BYTES
    try:
        if path.stat().st_size > limit:
            return BadRow(name, 1, f"larger than {limit:,} bytes; split it")
        return Row(name, 1, {"text": read_pdf(path) if is_pdf else decode(path.read_bytes())})
    except Drop as drop:
        return BadRow(name, 1, drop.reason)
    except OSError as error:
        return BadRow(name, 1, f"file cannot be read: {error.strerror or type(error).__name__}")


def _find_text(record: Mapping[str, object]) -> str:
    """Return the text of a record, or build it from a problem in the form of the Principia collection. Raises Drop."""
    text, problem, answer = (record.get(key) for key in ("text", "problem_statement", "answer"))
    if isinstance(text, str):
        return text
    if not isinstance(problem, str) or not isinstance(answer, str):
        raise Drop("neither a string `text` nor the strings `problem_statement` and `answer`")
    return write_problem(record.get("topic"), problem, answer)
