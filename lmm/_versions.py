"""The version of lmm, the one place where it is written, and those of what it runs on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"

_REQUIRED = ("numpy", "scipy", "pandas", "formulaic", "narwhals", "threadpoolctl")
_OPTIONAL = ("scikit-sparse", "matplotlib", "polars", "pyarrow", "joblib")


class Versions(dict[str, str]):
    """Versions by package name, shown as one line each."""

    def __repr__(self) -> str:
        return "\n".join(f"{name:<15}{value}" for name, value in self.items())


def show_versions() -> Versions:
    """Return the versions that a bug report needs.

    Returns
    -------
    Versions
        A dict that shows as a table: lmm, Python, the platform, the required packages, then
        the optional ones, ``"not installed"`` where one is absent.

    Examples
    --------
    >>> show_versions()
    lmm            0.1.0
    python         3...
    """
    versions = {"lmm": __version__, "python": platform.python_version()}
    versions["platform"] = platform.platform()
    return Versions(versions | {name: _installed(name) for name in _REQUIRED + _OPTIONAL})


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
