"""Defines the keys of the recipes for the corpus stage: download and ingest."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from autodata.recipes.models import OPERATIONAL, operational


@dataclass
class S2orcFilters:
    """Selects the papers that become documents."""

    min_year: int = 2022  # paper Sec. 3.1
    field_of_study: str = "Computer Science"  # paper Sec. 3.1
    min_chars: int = 8_000  # chosen: the paper gives no lengths
    max_chars: int = 200_000  # chosen
    licences: list[str] = field(default_factory=list)  # chosen: empty lets all pass; else prefixes, as "CC"
    require_abstract: bool = False  # chosen: s2orc_v2 marks none
    english: bool = True  # chosen


@dataclass
class PileOfLawFilters:
    """Selects the legal documents that are kept."""

    subsets: list[str] = field(default_factory=lambda: ["courtlisteneropinions"])  # paper Sec. 3.2: court opinions
    splits: list[str] = field(default_factory=lambda: ["train"])  # chosen
    min_chars: int = 4_000  # chosen: many rows are orders of a paragraph
    max_chars: int = 200_000  # chosen


@dataclass
class PrincipiaFilters:
    """Selects the problems that become documents."""

    answer_types: list[str] = field(default_factory=list)  # chosen: empty lets all pass
    max_chars: int = 8_000  # chosen: of problem and answer together


@dataclass
class OwnFilters:
    """Selects which of the user's own texts are kept."""

    licence: str = ""  # licence of all texts; a record's own overrides it
    text_column: str = "text"  # key of a record's text; a.b is b inside a
    id_column: str = "id"
    licence_column: str = ""  # empty: `licence` or `license`, of the record or of its `metadata`
    min_chars: int = 1
    max_chars: int = 1_000_000


@dataclass
class QualityFilters:
    """Drops documents by the heuristics of other corpora, for English text; all off unless a recipe names them."""

    fineweb: bool = False  # few full sentences, many short or repeated lines
    gopher_quality: bool = False  # too few words, no stop words, mostly symbols or bullets
    gopher_repetition: bool = False  # repeated lines, paragraphs and word sequences
    languages: list[str] = field(default_factory=list)  # ISO 639-1 codes that are kept, as [en]; empty: all
    language_at_least: float = 0.65  # chosen: as datatrove; the identifier must be this sure of the language


@dataclass
class SlurmArray:
    """Says how an ingest submits its tasks to a Slurm cluster."""

    partition: str = ""  # empty: that of slurm/site.env, or else the cluster's default
    time: str = "04:00:00"  # time limit of one task, which is one file or several small ones
    memory_gb: int = 4  # memory of one task
    max_array: int = 1001  # the cluster's MaxArraySize
    options: dict[str, Any] = field(default_factory=dict)  # passed verbatim to sbatch: {account: a}


@dataclass
class IngestRecipe:
    """Turns corpus files into documents."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    source: str = MISSING  # "s2orc", "pile_of_law", "principia" or "own"
    path: str = field(default=MISSING, metadata=OPERATIONAL)  # folder of the files, identified by names and sizes
    papers: str | None = operational(None)  # for s2orc: folder of the `papers` data set, identified likewise
    abstracts: str | None = operational(None)  # for s2orc: folder of the `abstracts` data set, identified likewise
    opt_out: str | None = operational(None)  # file of ids, DOIs and URLs that must not be used, identified by content
    one_in: int = 1  # keep only one document in so many, drawn by its id
    near_duplicates: bool = True  # keep only the first of several texts whose word 5-grams are about 0.7 alike or more
    mask_personal_data: bool = True
    tokenizer: str | None = "embedded"  # counts tokens: hub name, tokenizer.json; None: no count
    s2orc: S2orcFilters = field(default_factory=S2orcFilters)
    pile_of_law: PileOfLawFilters = field(default_factory=PileOfLawFilters)
    principia: PrincipiaFilters = field(default_factory=PrincipiaFilters)
    own: OwnFilters = field(default_factory=OwnFilters)
    quality: QualityFilters = field(default_factory=QualityFilters)
    executor: str = operational("local")  # "local" or "slurm"
    workers: int | None = operational(None)  # tasks at a time; None: one per core, on Slurm as many as it gives
    slurm: SlurmArray = field(default_factory=SlurmArray, metadata=OPERATIONAL)


@dataclass
class DownloadRecipe:
    """Downloads data sets from the Semantic Scholar Datasets API."""

    to: str = MISSING
    datasets: list[str] = MISSING
    release: str = "latest"
    files: int | None = None  # only the first so many of each data set; None: all
    base_url: str = "https://api.semanticscholar.org/datasets/v1"
    api_key_env: str = "S2_API_KEY"  # name of the environment variable, never the key
    retries: int = 6
    timeout_s: float = 60.0
    requests_per_second: float = 1.0  # the rate that a key allows
