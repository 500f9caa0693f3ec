"""The reference lists every public name."""

from pathlib import Path

import pytest

import lmm
from lmm import plots

REFERENCE = Path(__file__).parent.parent / "docs" / "reference.md"
PUBLIC = [name for name in (*lmm.__all__, *plots.__all__) if name != "__version__"]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_in_the_reference(name):
    assert f"   {name}" in REFERENCE.read_text().splitlines()
