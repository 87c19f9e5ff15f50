"""Drops documents by the quality filters of datatrove and by their language, if a recipe asks for it."""

from collections.abc import Callable, Iterator

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from autodata.command import require_package
from autodata.config import RecipeError
from autodata.corpora.record import Drop
from autodata.corpora.text.languages import load_identifier
from autodata.recipes.corpora import QualityFilters

_LANGUAGE_CHARS = 20_000  # the language of a document is read from its beginning


class QualityCheck:
    """Checks documents one by one. The libraries are loaded only if a filter is on, because they are large."""

    def __init__(self, recipe: QualityFilters):
        self._filters = list(_list_filters(recipe))
        self._identify = load_identifier().classify if recipe.languages else None
        self._recipe = recipe

    def check(self, document: Document) -> None:
        """Raise Drop with the name of the filter and its reason, as datatrove words it."""
        if self._identify is not None:
            self._check_language(document.text, self._identify)
        for name, quality_filter in self._filters:
            result = quality_filter.filter(document)
            kept, reason = result if isinstance(result, tuple) else (result, "")
            if not kept:
                raise Drop(f"{name}: {reason}" if reason else name)

    def _check_language(self, text: str, identify: Callable[[str], tuple[str, float]]) -> None:
        language, share = identify(text[:_LANGUAGE_CHARS])
        if language not in self._recipe.languages:
            raise Drop("another language")
        if share < self._recipe.language_at_least:
            raise Drop("language uncertain")


def _list_filters(recipe: QualityFilters) -> Iterator[tuple[str, BaseFilter]]:
    """Yield the filters that are on, with the thresholds of their papers, cheap ones first."""
    if recipe.fineweb:
        from datatrove.pipeline.filters import FineWebQualityFilter

        yield "FineWeb quality", FineWebQualityFilter()
    if recipe.gopher_quality:
        from datatrove.pipeline.filters import GopherQualityFilter

        yield "Gopher quality", GopherQualityFilter()
    if recipe.gopher_repetition:
        from datatrove.pipeline.filters import GopherRepetitionFilter

        yield "Gopher repetition", GopherRepetitionFilter()


def require_usable(recipe: QualityFilters) -> None:
    """Raise MissingPackage if filters that are on need spaCy's words, RecipeError for an unknown language."""
    if recipe.fineweb or recipe.gopher_quality or recipe.gopher_repetition:
        require_package("spacy", "ingest")
    known = load_identifier().labels if recipe.languages else []
    if unknown := next((code for code in recipe.languages if code not in known), None):
        raise RecipeError(f"quality.languages: {unknown} is not among the known ones ({', '.join(sorted(known))})")
