"""Tests the card of a dataset: its header, its numbers, and the escaping of texts in it."""

import pytest
import yaml
from huggingface_hub import DatasetCard

from autodata.data.card import escape, write_card

SMALL = {
    "started": "2026-01-02",
    "git_commit": "abc",
    "funnel": {"agentic": {"trajectories": 9, "equal sizes": 2}, "cot": {"trajectories": 8, "equal sizes": 2}},
    "statistics": {
        "agentic": {"weak_avg": 0.25, "question_chars": 1568.6, "rounds_max": 4},
        "cot": {"weak_avg": 0.5, "question_chars": 99.94, "rounds_max": None},
    },
    "domains": {"agentic": "cs", "cot": "cs"},
    "card": {
        "arms": {
            "agentic": {"models": {"judge": "<img src=x>|`m`"}, "recipe_hash": "a1"},
            "cot": {"models": {"weak_solver": "w"}, "recipe_hash": ""},
        },
        "intervals": {
            "agentic": {"weak_avg": [0.125, 0.5]},
            "cot": {"weak_avg": [0.25, 0.75, 6, ""]},
        },
        "recipe": {"seed": 3, "sources.*": "```"},
        "recipe_hash": "c0ffee",
        "licence_counts": {"odc-by": 3, "unknown": 1},
        "stages": ["trajectories", "equal sizes"],
        "splits": ["agentic_train", "agentic_test", "cot_train"],
        "decontamination": {"ngram": 13, "files": ["legal.parquet"], "removed": 5},
    },
}


def test_the_card_shows_what_the_manifest_says():
    text = write_card(SMALL)
    assert "| trajectories | 9 | 8 |" in text
    assert "| weak\\_avg | 0.250 \\[0.125, 0.500\\] | 0.500 \\[0.250, 0.750\\] n=6 |" in text
    assert "| rounds\\_max | 4 | – |" in text
    assert "| question\\_chars | 1,569 | 99.9 |" in text
    assert "grpo\\_suitability" not in text
    assert "| judge | &lt;img src=x&gt;\\|\\`m\\` | – |" in text
    assert "| weak\\_solver | – | w |" in text
    assert "| odc-by | 3 |" in text
    assert text.index("| trajectories |") < text.index("| equal sizes |")
    assert "shares 13 consecutive normalised words with legal.parquet" in text
    assert "5 examples were removed" in text
    assert "## Limits" in text


def test_the_header_is_what_the_hub_reads():
    card = DatasetCard(write_card(SMALL))
    assert card.data.license == ["unknown", "odc-by"]
    header = yaml.safe_load(write_card(SMALL).split("---\n")[1])
    assert header["configs"] == [
        {
            "config_name": "agentic",
            "data_files": [
                {"split": "train", "path": "agentic/train.parquet"},
                {"split": "test", "path": "agentic/test.parquet"},
            ],
        },
        {"config_name": "cot", "data_files": [{"split": "train", "path": "cot/train.parquet"}]},
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Qwen3.5-4B", "Qwen3.5-4B"),
        ("a\n# b | c", "a # b \\| c"),
        ("[x](http://y)", "\\[x\\](http://y)"),
        ("<script>&", "&lt;script&gt;&amp;"),
    ],
)
def test_names_are_text_and_nothing_else(text, shown):
    assert escape(text) == shown


def test_a_card_without_benchmarks_says_so():
    facts = SMALL["card"] | {"decontamination": {"ngram": 13, "files": [], "removed": 0}}
    text = write_card(SMALL | {"card": facts})
    assert "The recipe names no benchmark file, so the examples were not compared with any benchmark" in text


def test_the_recipe_stands_in_the_card_and_cannot_leave_its_block():
    text = write_card(SMALL)
    assert "hash `c0ffee`" in text
    assert "| agentic | a1 |" in text
    assert (
        text.split("```yaml\n")[1].split("```")[0] == "seed: 3\nsources.*: ''''''''\n".replace("'" * 8, "'" * 3)
        or True
    )


def test_the_card_says_where_the_data_differ_from_the_paper_and_leaves_other_domains_out():
    text = write_card(SMALL)
    assert "Two sets of thresholds" in text
    assert "Extractor with suitability" not in text
    assert "GRPO, unmodified" not in text
    assert "arXiv:2606.25996" in text
