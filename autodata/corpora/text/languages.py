"""Loads the identifier of languages, once per process."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier


@cache
def load_identifier() -> "LanguageIdentifier":
    """Load py3langid, whose model comes with its package; datatrove's own identifier would download one.

    It takes a second, so it is loaded only if a recipe names languages or a text has an unknown encoding.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
