"""What R prints and computes after a fit (see make_model.R)."""

import json
from pathlib import Path
from typing import Any


def load_model_reference() -> dict[str, Any]:
    """Texts as lists of lines, and numbers, by name."""
    return json.loads((Path(__file__).parent / "model.json").read_text())
