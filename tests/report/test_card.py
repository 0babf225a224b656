"""The card of the model: the same facts as the page, and names that stay text."""

from pathlib import Path

import pytest

from stages.common.tasks import TASKS
from stages.report.words import markdown
from tests.report.made_up_reports import render, write_reports

CARD = Path("models/README.md")


@pytest.mark.parametrize("task", TASKS)
def test_the_card_of_every_task_says_what_a_user_must_know(task):
    write_reports(task=task)
    render()
    card = CARD.read_text()
    headings = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert headings == [
        *("Purpose", "Data", "Scores", "Limits found", "How to use it", "Where it comes from"),
        "What lies in models/",
    ]
    assert "1 group with 1 image had been given two sides" in card
    assert "python -m stages.predict photo.jpg" in card
    assert ("| cat | 0.500 | 1.000 |" in card) == (task != "regression")


def test_names_are_text_in_markdown_whatever_they_look_like():
    hostile = "<img src=x> [a](b) *c* `d` | e\n# f & 'g'"
    expected = r"&lt;img src=x&gt; \[a\](b) \*c\* \`d\` \| e \# f &amp; 'g'"
    assert markdown(hostile) == expected
    write_reports(label=hostile.replace("\n", " "))
    render()
    card = CARD.read_text()
    assert f"| {expected} | 0.500 |" in card
    assert "<img" not in card
