"""Writes recipes/ingest/samples: a few records in the exact form of each corpus, compressed like the real ones.

The texts are those of the demo, which we wrote. Run it as `python -m tests.helpers.make_samples`.
"""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pyarrow
import pyarrow.parquet

REPO = Path(__file__).parent.parent.parent
SAMPLES = REPO / "recipes" / "ingest" / "samples"
_TEXTS = REPO / "recipes" / "demo" / "documents"
_PROBLEMS = REPO / "recipes" / "science" / "documents" / "problems.jsonl"


def read_text(name: str) -> tuple[str, list[str]]:
    """Read title and paragraphs of a demo text."""
    title, *paragraphs = (_TEXTS / f"{name}.txt").read_text(encoding="utf-8").strip().split("\n\n")
    return title, paragraphs


def mark(text: str, parts: list[str]) -> str:
    """Write the spans of the parts as the release does, in a JSON string."""
    places = [(text.index(part), len(part)) for part in parts]
    return json.dumps([{"start": start, "end": start + length} for start, length in places])


def make_paper(number: int) -> dict:
    """Make a record of s2orc_v2, which has no year, field of study or abstract."""
    title, paragraphs = read_text(f"cs_{number:02d}")
    headers = [f"{i} {name}" for i, name in enumerate(("Introduction", "Evaluation"), 1)]
    text = "\n".join([title, *(part for pair in zip(headers, paragraphs, strict=False) for part in pair)])
    annotations = {"section_header": mark(text, headers), "paragraph": mark(text, paragraphs), "bib_ref": None}
    access = {
        "externalids": {"DOI": f"10.5555/{number}", "ArXiv": None},
        "license": "CCBY",
        "status": "GOLD",
        "url": f"https://example.org/{number}.pdf",
    }
    return {
        "corpusid": number,
        "title": title,
        "authors": [],
        "openaccessinfo": access,
        "body": {"text": text, "annotations": annotations},
        "bibliography": None,
    }


def make_old_paper(number: int) -> dict:
    """Make a record of the older `s2orc` release: title and abstract are in the text, some offsets are strings."""
    title, paragraphs = read_text(f"cs_{number:02d}")
    abstract, *rest = paragraphs
    text = "\n".join([title, abstract, "Evaluation", *rest])
    start = text.index(abstract)
    annotations = {
        "title": mark(text, [title]),
        "sectionheader": mark(text, ["Evaluation"]),
        "abstract": json.dumps([{"start": str(start), "end": str(start + len(abstract))}]),
        "paragraph": mark(text, rest),
        "figure": None,
    }
    source = {"pdfurls": None, "pdfsha": "0" * 40, "oainfo": {"license": None, "openaccessurl": None, "status": None}}
    return {
        "corpusid": number,
        "externalids": {"arxiv": f"2301.{number:05d}", "doi": None},
        "content": {"source": source, "text": text, "annotations": annotations},
    }


def make_parse(number: int) -> dict:
    """Make the parse of a paper as in S2ORC up to 2020, doc2json and CORD-19: paragraphs, each with its heading."""
    _, (abstract, *rest) = read_text(f"cs_{number:02d}")
    place = {"cite_spans": [], "ref_spans": [], "eq_spans": []}
    heads = [("Introduction", "1"), ("Evaluation", "2"), ("Limits", "2.1"), ("Outlook", "3")]
    body = [{"text": t, **place, "section": h, "sec_num": n} for t, (h, n) in zip(rest, heads, strict=False)]
    figure = {"text": "Figure 1: Bytes of ids.", "latex": None, "type": "figure"}
    parts = {"abstract": [{"text": abstract, **place, "section": "Abstract"}], "body_text": body}
    return {"paper_id": str(number), **parts, "back_matter": [], "bib_entries": {}, "ref_entries": {"FIGREF0": figure}}


def make_doc2json(number: int) -> dict:
    title, (abstract, *_) = read_text(f"cs_{number:02d}")
    facts = {"title": title, "authors": [], "year": "2023", "venue": "", "identifiers": {"doi": f"10.5555/{number}"}}
    return {
        "paper_id": f"paper-{number}",
        "header": {},
        **facts,
        "abstract": abstract,
        "pdf_parse": make_parse(number),
    }


def make_cord19(number: int) -> dict:
    title, _ = read_text(f"cs_{number:02d}")
    return make_parse(number) | {"paper_id": "0" * 38 + f"{number:02d}", "metadata": {"title": title, "authors": []}}


def make_page(number: int) -> bytes:
    """Make a page in HTML with a head, a menu and a script around the text, in latin-1 as its head says."""
    title, paragraphs = read_text(f"law_{number:02d}")
    body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    head = f'<meta charset="iso-8859-1"><title>{title}</title><script>var a = "<p>";</script>'
    return f"<html><head>{head}</head><body><nav>Menü</nav><h1>{title} – café</h1>{body}</body></html>".replace(
        "–", "-"
    ).encode("latin-1")


def make_pes2o(number: int) -> dict:
    title, paragraphs = read_text(f"cs_{number:02d}")
    return {
        "id": str(number),
        "source": "s2orc/train",
        "text": "\n".join([title, *paragraphs]),
        "added": "2023-01-03",
        "created": "2022-06-01",
        "version": "v3-fos-license",
    }


def make_papers_row(number: int, year: int | None = 2023, category: str = "Computer Science") -> dict:
    return {
        "corpusid": number,
        "title": f"Paper {number}",
        "year": year,
        "publicationdate": None,
        "venue": "",
        "s2fieldsofstudy": [{"category": category, "source": "s2-fos-model"}],
    }


def make_opinion(*names: str, html: bool = False) -> dict:
    texts = ["\n\n".join([title, *paragraphs]) for title, paragraphs in map(read_text, names)]
    text = "\n\n".join(texts)
    if html:
        text = '<pre class="inline">' + text.replace("\n\n", "</p>\n<p>") + "</pre>"
    return {
        "text": text,
        "created_timestamp": "05-08-2014",
        "downloaded_timestamp": "01-14-2022",
        "url": f"https://example.org/api/rest/v3/opinions/{names[0][-2:]}/",
    }


def pack(rows: list[object]) -> bytes:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


def pack_as(rows: list[dict], encoding: str) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode(encoding)


def make_tex(number: int) -> bytes:
    title, paragraphs = read_text(f"cs_{number:02d}")
    body = "\n\n".join([r"\begin{equation} E = mc^2 \end{equation}", *paragraphs])
    return f"\\documentclass{{article}}\n\\title{{{title}}}\n\\begin{{document}}\n{body}\n\\end{{document}}\n".encode()


def make_rst(number: int) -> bytes:
    title, paragraphs = read_text(f"law_{number:02d}")
    return "\n\n".join([f"{title}\n{'=' * len(title)}", *paragraphs]).encode() + b"\n"


def make_pdf(lines: list[str]) -> bytes:
    """Make a PDF of one page of text."""
    shown = b"".join(b"(%s) Tj T* " % line.translate({40: None, 41: None, 92: None}).encode("ascii") for line in lines)
    content = b"BT /F1 10 Tf 14 TL 40 750 Td " + shown + b"ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"xref\n0 6\n0000000000 65535 f \n%strailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        table,
        len(out),
    )


def make_files() -> dict[str, bytes]:
    """Make all samples but the parquet ones, by name. Each corpus has some records that ingest must drop."""
    broken = make_paper(5) | {"corpusid": 13}
    broken["body"] = broken["body"] | {"annotations": {"paragraph": "[{"}}
    beyond = make_paper(6)
    beyond["body"]["annotations"]["bib_ref"] = beyond["body"]["annotations"]["section_header"]
    beyond["body"]["annotations"]["section_header"] = '[{"start": 90000, "end": 90010}]'
    new = [
        make_paper(1),
        make_paper(2),
        make_paper(3),
        '{"corpusid": 4, "ti',
        broken,
        beyond,
        make_paper(1),
        make_paper(4) | {"corpusid": 14},
    ]
    papers = [make_papers_row(n) for n in (*range(1, 14), 16)] + [
        make_papers_row(14, 2019),
        make_papers_row(15, 2023, "Law"),
    ]
    first, second, third = ([f"law_{n:02d}" for n in range(start, start + 4)] for start in (1, 5, 9))
    twice = make_opinion(*second) | {"url": "https://example.org/api/rest/v3/opinions/99/"}
    short = {"text": "Appeal dismissed.", "created_timestamp": "05-08-2014", "url": "https://example.org/1/"}
    opinions = [make_opinion(*first), "null", make_opinion(*second, html=True), short, twice]
    title, paragraphs = read_text("law_09")
    case, story = read_text("law_10")
    return {
        "s2orc/s2orc_v2/20260917_0000.gz": gzip.compress(pack(new), mtime=0),
        "s2orc/s2orc/20230905_0000.gz": gzip.compress(pack([make_old_paper(n) for n in (7, 8, 9)]), mtime=0),
        "s2orc/pes2o/pes2o_v3-0000.json.gz": gzip.compress(pack([make_pes2o(n) for n in (10, 11, 12)]), mtime=0),
        "papers/20260917_0000.gz": gzip.compress(pack(papers), mtime=0),
        "pile_of_law/data/train.courtlisteneropinions.0.jsonl.xz": lzma.compress(pack(opinions)),
        "pile_of_law/data/validation.courtlisteneropinions.0.jsonl.xz": lzma.compress(pack([make_opinion(*third)])),
        "pile_of_law/data/train.tos.0.jsonl.xz": lzma.compress(pack([make_opinion(*third)])),
        "pile_of_law/data/train.founding_docs.jsonl.xz": lzma.compress(pack([make_opinion(*third)])),
        "s2orc/s2orc_2020/pdf_parses_0.jsonl.gz": gzip.compress(pack([make_parse(4) | {"paper_id": "16"}]), mtime=0),
        "abstracts/20260917_0000.gz": gzip.compress(
            pack([{"corpusid": n, "abstract": f"What paper {n} shows."} for n in (1, 2, 99)]), mtime=0
        ),
        "own/doc2json.json": json.dumps(make_doc2json(4)).encode(),
        "own/cord19.json.gz": gzip.compress(json.dumps(make_cord19(5), indent=2).encode(), mtime=0),
        "own/latin.jsonl": pack_as(
            [{"id": "café", "text": "Les forêts brûlent l’été, et l’hiver elles gèlent."}], "cp1252"
        ),
        "own/wide.jsonl": pack_as([{"id": "wide", "text": "Två öar, ett hav – och en färja."}], "utf-16"),
        "own/rows.jsonl.bz2": bz2.compress(pack([{"id": "bz2", "text": read_text("cs_06")[1][0]}])),
        "own/rows.ndjson": pack([{"id": "nd", "text": read_text("cs_07")[1][0], "metadata": {"license": "CC0-1.0"}}]),
        "own/page.html": make_page(8),
        "own/paper.tex": make_tex(8),
        "own/guide.rst": make_rst(11),
        "own/README": make_rst(12),
        "own/notes.md": f"# {title}\n\n".encode() + "\n\n".join(paragraphs).encode(),
        "own/latin.txt": (
            "Der Prüfer fand größere Schäden an der Brücke, als man früher für möglich hielt. " * 3
        ).encode("cp1252"),
        "own/records.jsonl": pack(
            [
                {"id": "a", "text": read_text("cs_10")[1][0], "licence": "CC0", "year": 2024},
                {"id": "b", "title": "no text"},
            ]
        ),
        "own/page.pdf": make_pdf([case, *(s for p in story for s in p.split(". "))]),
        "own/broken.pdf": b"%PDF-1.4\nno more than that\n",
    }


def make_problems() -> dict[str, list[dict]]:
    """Write the two splits of the Principia collection."""
    kept = ("topic", "problem_statement", "answer", "answer_type")
    rows = [{key: json.loads(line)[key] for key in kept} for line in _PROBLEMS.read_text("utf-8").splitlines()]
    half = len(rows) // 2
    return {"train": rows[:half], "test": [*rows[half:], rows[half] | {"answer": None}]}


def write(folder: Path) -> None:
    for name, data in make_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "principia").mkdir(exist_ok=True)
    for split, rows in make_problems().items():
        table = pyarrow.Table.from_pylist(rows)
        pyarrow.parquet.write_table(table, folder / "principia" / f"{split}-00000-of-00001.parquet")
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"id": "p", "text": read_text("cs_11")[1][0], "licence": "CC-BY-4.0"}]),
        folder / "own" / "rows.parquet",
    )


if __name__ == "__main__":
    write(SAMPLES)
