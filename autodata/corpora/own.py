"""Reads the user's own texts: plain text, Markdown, reStructuredText, LaTeX, HTML and PDF files, and rows."""

import codecs
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import PurePath

import orjson

from autodata.corpora import parses
from autodata.corpora.principia import write_problem
from autodata.corpora.record import Drop, Record, require_length
from autodata.corpora.remote.files import Place, bring_here, write_name
from autodata.corpora.rows import LINES, BadRow, Row, open_file, read_rows, split_ending
from autodata.corpora.text import layout
from autodata.corpora.text.encodings import decode, normalize, unify
from autodata.corpora.text.pdf import read_pdf
from autodata.recipes.corpora import OwnFilters

_PLAIN = (".txt", ".text", ".md", ".markdown", ".rst", ".tex")
_HTML = (".html", ".htm", ".xhtml")
_ROWS = (*LINES, ".parquet")
KINDS = ".txt, .md, .pdf, .rst, .tex, .html, .jsonl, .ndjson, .json (also .gz, .bz2, .xz, .zst) or .parquet"
_ASCII = bytes(range(32, 127))
MAX_TEXT_BYTES = 20_000_000  # beyond this a file of plain text or HTML is a corpus or a dump, not a document
MAX_PDF_BYTES = 200_000_000
_NOT_FIELDS = {"id", "text", "preparation"}  # `preparation` comes from a domain, never from a record
_HOLDERS, _NAMES = ("metadata", "meta"), ("doi", "url", "arxiv")
_LICENCES = ("licence", "license", "licences", "licenses")


def can_read(name: str) -> bool:
    """True if the ending of a file's name says that it is a text or has rows."""
    kind, packed = split_ending(name)
    return is_text(name) or kind in (LINES if packed else _ROWS)


def is_text(name: str) -> bool:
    """True if a file is one document. A README may have no ending, nor may other names in capital letters."""
    kind, packed = split_ending(name)
    stem = PurePath(name).name
    return kind in (*_PLAIN, *_HTML) or (kind == ".pdf" and not packed) or (not kind and not packed and stem.isupper())


def count_endings(names: Iterable[str]) -> Counter[str]:
    """Count files by the ending of their name."""
    return Counter("".join(split_ending(name)) or "no ending" for name in names)


def read(path: Place, name: str) -> Iterator[Row | BadRow]:
    """Iterate over the rows of one file, whose name in them is `name`. A text or a PDF is one row."""
    return iter([_read_text(path, write_name(name))]) if is_text(name) else read_rows(path, name)


def parse(row: Row, filters: OwnFilters) -> Record:
    """Make the document of a row. Raises Drop."""
    identity = identify(row, filters)
    text, changes = layout.mend(unify(_find_text(row.value, filters.text_column)))
    text = normalize(text)
    if not text:
        raise Drop("empty")
    require_length(text, filters.min_chars, filters.max_chars)
    left_out = _NOT_FIELDS | {*_LICENCES, filters.text_column, filters.id_column}
    kept = {k: v for k, v in row.value.items() if k not in left_out and isinstance(v, str | int | float)}
    fields = {k: normalize(v) if isinstance(v, str) else v for k, v in kept.items()}
    fields = {key: name for key in _NAMES if (name := _find_name(row.value, key))} | fields
    fields |= {"encoding": row.encoding} if row.encoding else {}
    return Record(identity, text, normalize(find_licence(row.value, filters)), fields, changes)


def identify(row: Row, filters: OwnFilters) -> str:
    """Return the id of a row: its own, or else its place in the files. Raises Drop."""
    value = _look_up(row.value, filters.id_column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | None) or isinstance(value, bool):
        raise Drop(f"`{filters.id_column}` is neither text nor a number")
    place = row.file if is_text(row.file) else f"{row.file}:{row.line}"
    return place if value is None else normalize(str(value)) or place  # an empty id is none


def find_licence(record: Mapping[str, object], filters: OwnFilters) -> str:
    """Return the licence that a record states, in itself or in its metadata; else that of the recipe."""
    if filters.licence_column:
        stated = [_look_up(record, filters.licence_column)]
    else:
        holders = (record, *(_read_object(record.get(holder)) for holder in _HOLDERS))
        stated = [holder.get(key) for holder in holders for key in _LICENCES]
    return next((text for value in stated if (text := _write_licence(value))), filters.licence)


def _find_name(record: Mapping[str, object], key: str) -> str:
    """Return a name by which a document can be opted out, from the metadata of its record."""
    holders = (_read_object(record.get(holder)) for holder in _HOLDERS)
    return next((name for holder in holders if isinstance(name := holder.get(key), str)), "")


def _read_text(path: Place, name: str) -> Row | BadRow:
    is_pdf = path.suffix.lower() == ".pdf"
    limit = MAX_PDF_BYTES if is_pdf else MAX_TEXT_BYTES
    try:
        with bring_here(path, limit) as here:
            if here.stat().st_size > limit:
                return BadRow(name, 1, f"larger than {limit:,} bytes; split it")
            if is_pdf:
                return Row(name, 1, {"text": read_pdf(here)})
            with open_file(here) as file:
                data = file.read(limit + 1)
        return BadRow(name, 1, f"larger than {limit:,} bytes; split it") if len(data) > limit else _decode(name, data)
    except Drop as drop:
        return BadRow(name, 1, drop.reason)
    except (EOFError, OSError, ValueError) as error:  # of packed files too, whose errors have no number
        reason = error.strerror if isinstance(error, OSError) and error.errno else "it is cut off or damaged"
        return BadRow(name, 1, f"file cannot be read: {reason or type(error).__name__}")


def _decode(name: str, data: bytes) -> Row:
    """Make the row of a text. Raises Drop."""
    if split_ending(name)[0] not in _HTML:
        text, encoding = decode(data)
        return Row(name, 1, {"text": text}, encoding)
    from autodata.corpora.text.html import (
        extract_text,
        find_charset,
    )  # a tenth of a second, and few corpora have pages

    page, encoding = _decode_page(data, find_charset(data))
    return Row(name, 1, {"text": extract_text(page)}, encoding)


def _decode_page(data: bytes, charset: str) -> tuple[str, str]:
    """Decode a page with the encoding that it states, if that is right. Raises Drop.

    What is UTF-8 with more than ASCII in it is no other encoding by chance: the page was saved anew.
    """
    if not data.isascii():
        with suppress(UnicodeDecodeError):
            return data.decode("utf-8-sig"), ""
    try:
        # A page whose statement could be read is no UTF-16, and in no encoding that writes ASCII in another way.
        if charset and codecs.lookup(charset).name != "utf-8" and _ASCII.decode(charset) == _ASCII.decode():
            return data.decode(charset), charset
    except (LookupError, UnicodeError):  # unknown or wrong
        pass
    return decode(data)


def _find_text(record: Mapping[str, object], column: str) -> str:
    """Return the text of a record, or write that of a problem of Principia or of a parsed paper. Raises Drop."""
    text = _look_up(record, column)
    if isinstance(text, str):
        return text
    if column != "text":
        raise Drop(f"no string `{column}`")
    if parses.is_paper(record):
        return parses.read(record).write()
    problem, answer = record.get("problem_statement"), record.get("answer")
    if not isinstance(problem, str) or not isinstance(answer, str):
        raise Drop("neither a string `text` nor the strings `problem_statement` and `answer`")
    return write_problem(record.get("topic"), problem, answer)


def _look_up(record: Mapping[str, object], column: str) -> object:
    """Return the value of a column, which may be inside others: `metadata.licence`. A key with dots comes first."""
    if column in record:
        return record[column]
    first, _, rest = column.partition(".")
    return _look_up(_read_object(record.get(first)), rest) if rest else None


def _read_object(value: object) -> Mapping[str, object]:
    """Return an object, also one that is written as JSON, or else an empty one."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, dict) else {}


def _write_licence(value: object) -> str:
    """Return a licence that is a text, a list of texts, or an object with a name."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("id", "spdx_id", "name", "type", "url") if value.get(key)), "")
    if isinstance(value, list):
        return "; ".join(item.strip() for item in value if isinstance(item, str) and item.strip())
    return value.strip() if isinstance(value, str) else ""
