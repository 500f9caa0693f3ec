"""Warnings name a heading that exists on the documentation's page Messages."""

import pickle
from pathlib import Path

import pytest

from lmm import errors

MESSAGES = Path(__file__).parent.parent / "docs" / "messages.md"
WARNINGS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.LmmWarning)
]


@pytest.mark.parametrize("kind", WARNINGS, ids=lambda kind: kind.__name__)
def test_warnings_name_a_section_of_the_messages_page(kind):
    headings = [line.lstrip("# ") for line in MESSAGES.read_text().splitlines() if line[:1] == "#"]
    assert kind.section in headings


@pytest.mark.parametrize("kind", WARNINGS, ids=lambda kind: kind.__name__)
def test_warnings_are_pickled_with_their_text(kind):
    warning = pickle.loads(pickle.dumps(kind("something is wrong")))
    assert type(warning) is kind
    assert warning.text == "something is wrong"
    assert str(warning).splitlines() == [
        "something is wrong",
        f'See "{kind.section}" on the page Messages of the documentation.',
    ]
