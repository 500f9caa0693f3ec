"""Tables of R's calls beside ours, every one of which is run while the page is built."""

from html import escape

from IPython.display import HTML
from matplotlib import pyplot as plt

ABSENT = "–"


def beside(rows: str, left: str = "R", **names: object) -> HTML:
    """A table of lines ``theirs => ours``; ours is evaluated with `names`, and must not fail.

    A line without ``=>`` is a heading; ours may be ``–`` with a note after it.
    """
    cells = []
    for line in rows.strip().splitlines():
        theirs, _, ours = (part.strip() for part in line.partition("=>"))
        if ours and not ours.startswith(ABSENT):
            eval(ours, names)
        cells.append((theirs, ours))
    plt.close("all")
    body = "".join(_row(theirs, ours) for theirs, ours in cells)
    head = f"<tr><th>{escape(left)}</th><th>lmm</th></tr>"
    return HTML(f'<table class="beside"><thead>{head}</thead><tbody>{body}</tbody></table>')


def _row(theirs: str, ours: str) -> str:
    if not ours:
        return f'<tr><th colspan="2">{escape(theirs)}</th></tr>'
    code = "<td><code>{}</code></td>".format
    right = f"<td>{escape(ours)}</td>" if ours.startswith(ABSENT) else code(escape(ours))
    return f"<tr>{code(escape(theirs))}{right}</tr>"
