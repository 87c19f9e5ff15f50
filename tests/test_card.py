import pytest
import yaml
from huggingface_hub import DatasetCard

from autodata.card import escape, write_card

SMALL = {
    "started": "2026-01-02",
    "git_commit": "abc",
    "funnel": {"agentic": {"trajectories": 9, "equal sizes": 2}, "cot": {"trajectories": 8, "equal sizes": 2}},
    "statistics": {
        "agentic": {"weak_avg": 0.25, "question_chars": 1568.6, "rounds_max": 4},
        "cot": {"weak_avg": 0.5, "question_chars": 99.94, "rounds_max": None},
    },
    "card": {
        "arms": {"agentic": {"models": {"judge": "<img src=x>|`m`"}}, "cot": {"models": {"weak_solver": "w"}}},
        "licence_counts": {"odc-by": 3, "unknown": 1},
        "stages": ["trajectories", "equal sizes"],
        "splits": ["agentic_train", "agentic_test", "cot_train"],
        "decontamination": {"ngram": 13, "files": ["legal.parquet"], "removed": 5},
    },
}
METRICS = ("weak_avg", "question_chars", "rounds_max", "grpo_suitability_high_pct")


def test_the_card_shows_what_the_manifest_says():
    text = write_card(SMALL, METRICS)
    assert "| trajectories | 9 | 8 |" in text
    assert "| weak\\_avg | 0.25 | 0.5 |" in text
    assert "| rounds\\_max | 4 | – |" in text
    assert "| question\\_chars | 1569 | 99.9 |" in text
    assert "suitability" not in text
    assert "| judge | &lt;img src=x&gt;\\|\\`m\\` | – |" in text
    assert "| weak\\_solver | – | w |" in text
    assert "| odc-by | 3 |" in text
    assert text.index("| trajectories |") < text.index("| equal sizes |")
    assert "shares a run of 13 normalised words with legal.parquet" in text
    assert "5 examples were removed" in text
    assert "## Limits" in text


def test_the_header_is_what_the_hub_reads():
    card = DatasetCard(write_card(SMALL, METRICS))
    assert card.data.license == ["odc-by", "unknown"]
    header = yaml.safe_load(write_card(SMALL, METRICS).split("---\n")[1])
    assert header["configs"] == [
        {"config_name": "agentic", "data_files": [{"split": "train", "path": "agentic_train/*.arrow"},
                                                  {"split": "test", "path": "agentic_test/*.arrow"}]},
        {"config_name": "cot", "data_files": [{"split": "train", "path": "cot_train/*.arrow"}]}]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), [
    ("Qwen3.5-4B", "Qwen3.5-4B"),
    ("a\n# b | c", "a # b \\| c"),
    ("[x](http://y)", "\\[x\\](http://y)"),
    ("<script>&", "&lt;script&gt;&amp;"),
])  # fmt: skip
def test_names_are_text_and_nothing_else(text, shown):
    assert escape(text) == shown


def test_a_card_without_benchmarks_says_so():
    facts = SMALL["card"] | {"decontamination": {"ngram": 13, "files": [], "removed": 0}}
    text = write_card(SMALL | {"card": facts}, METRICS)
    assert "no file was named to look for runs of 13 words in" in text
