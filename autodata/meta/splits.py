"""Which documents edits are made from, accepted on, and scored on in the end."""

import random
from dataclasses import dataclass

from autodata.config import RecipeError
from autodata.corpora.documents import group_documents, read_corpus
from autodata.recipes.meta import MetaRecipe
from autodata.types import Document


@dataclass(frozen=True)
class Splits:
    """No document is in two of them."""

    training: list[Document]
    validation: list[Document]
    test: list[Document]


def split(recipe: MetaRecipe) -> Splits:
    """A shuffle by the recipe's seed. Raises RecipeError when there are too few documents, DocumentsError."""
    corpus = read_corpus(recipe.documents.path, recipe.documents.limit)
    documents = group_documents(corpus.documents, recipe.documents.per_group, recipe.seed)
    sizes = (recipe.splits.training, recipe.splits.validation, recipe.splits.test)
    if len(documents) < sum(sizes):
        raise RecipeError(f"splits: {sum(sizes)} documents are asked for, documents.path has {len(documents)}")
    random.Random(recipe.seed).shuffle(documents)
    first, second = sizes[0], sizes[0] + sizes[1]
    return Splits(documents[:first], documents[first:second], documents[second : sum(sizes)])
