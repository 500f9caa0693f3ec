"""Draw the layers of pyproject.toml's import contract, with the first line of each module."""

import ast
import tomllib
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).parent.parent
FILL, EDGE, WIDTH = "#e8f1f2", "#0a7d91", 10.6


def layers() -> list[list[str]]:
    """Modules of each layer, from the highest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["type"] == "layers")
    return [
        [name.strip(" ()") for name in layer.replace(":", "|").split("|")]
        for layer in contract["layers"]
    ]


def purpose(module: str) -> str:
    """First line of a module's docstring."""
    path = ROOT / "lmm" / module
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.split("\n")[0].replace("`", "").split(" (docs/")[0].rstrip(".")


def draw() -> Figure:
    """One row of boxes per layer; a module may import what stands below it."""
    rows = layers()
    heights = [0.28 * len(row) + 0.16 for row in rows]
    figure, ax = plt.subplots(figsize=(WIDTH, sum(heights) * 1.15))
    top = 0.0
    for row, height in zip(rows, heights, strict=True):
        box = FancyBboxPatch(
            (0.0, top - height), WIDTH, height, boxstyle="round,pad=0.03", fc=FILL, ec=EDGE, lw=0.8
        )
        ax.add_patch(box)
        for i, module in enumerate(row):
            y = top - 0.08 - 0.28 * (i + 0.5)
            ax.text(0.15, y, module, va="center", family="monospace", weight="bold", fontsize=9)
            ax.text(1.9, y, purpose(module), va="center", fontsize=9)
        top -= height + 0.1
    ax.annotate("", (WIDTH + 0.25, top + 0.2), (WIDTH + 0.25, 0.0), arrowprops={"arrowstyle": "->"})
    ax.text(WIDTH + 0.38, 0.5 * top, "imports", rotation=270, va="center", fontsize=9)
    ax.set(xlim=(-0.1, WIDTH + 0.6), ylim=(top, 0.1))
    ax.axis("off")
    return figure
