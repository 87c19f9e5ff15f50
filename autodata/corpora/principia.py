"""Makes documents from the Principia collection: problems with short answers, for science (paper Sec. 3.3)."""

import hashlib
from collections.abc import Mapping

from autodata.corpora.record import Drop, Record
from autodata.recipes.corpora import PrincipiaFilters

LICENCE = "cc-by-nc-sa-4.0"
_KEPT = ("topic", "problem_statement", "answer", "answer_type")


def parse(row: Mapping[str, object], filters: PrincipiaFilters) -> Record:
    """Make the document of a problem, and keep its four fields. Raises Drop."""
    fields = {key: value.strip() for key in _KEPT if isinstance(value := row.get(key), str)}
    problem, answer = fields.get("problem_statement", ""), fields.get("answer", "")
    if not problem:
        raise Drop("no problem")
    if not answer:
        raise Drop("no answer")
    if len(problem) + len(answer) > filters.max_chars:
        raise Drop("too long")
    if filters.answer_types and fields.get("answer_type") not in filters.answer_types:
        raise Drop("answer type not in the list")
    return Record(identify(row), write_problem(fields.get("topic"), problem, answer), LICENCE, dict(fields))


def identify(row: Mapping[str, object]) -> str:
    """Return an id made from the problem."""
    problem = str(row.get("problem_statement")).strip()
    return f"principia-{hashlib.sha256(problem.encode('utf-8', 'replace')).hexdigest()[:16]}"


def write_problem(topic: object, problem: str, answer: str) -> str:
    """Return the text of a problem and its answer."""
    beginning = f"Topic: {topic}\n" if isinstance(topic, str) and topic.strip() else ""
    return f"{beginning}Problem: {problem}\nAnswer: {answer}"
