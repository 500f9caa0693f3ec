"""Families: conditional distributions of the response with their link functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lmm.errors import DataError, nearest
from lmm.family.base import Conditional, Family, RowLikelihood, ShapeRows
from lmm.family.binomial import Binomial
from lmm.family.counts import NegativeBinomial, Poisson
from lmm.family.links import Link
from lmm.family.scale import Gamma, Gaussian, InverseGaussian

__all__ = [
    "FAMILIES",
    "Binomial",
    "Conditional",
    "Family",
    "Gamma",
    "Gaussian",
    "InverseGaussian",
    "Link",
    "NegativeBinomial",
    "Poisson",
    "RowLikelihood",
    "ShapeRows",
    "family_named",
]

FAMILIES: dict[str, Callable[..., Family]] = {
    "binomial": Binomial,
    "poisson": Poisson,
    "Gamma": Gamma,
    "gaussian": Gaussian,
    "inverse.gaussian": InverseGaussian,
    "negative.binomial": NegativeBinomial,
}
# statsmodels' names of links, by R's.
STATSMODELS_LINKS = {
    "logit": "logit",
    "probit": "probit",
    "cloglog": "cloglog",
    "cauchy": "cauchit",
    "log": "log",
    "identity": "identity",
    "sqrt": "sqrt",
    "inversepower": "inverse",
    "inversesquared": "1/mu^2",
}


def family_named(family: Any) -> Family:
    """The family of a name, a class or an object.

    Parameters
    ----------
    family : str, Family, class of Family, or statsmodels family
        ``"binomial"``, ``"poisson"``, ``"Gamma"``, ``"gaussian"``, ``"inverse.gaussian"`` or
        ``"negative.binomial"``, with their default links; or an object.

    Raises
    ------
    DataError
        It is none of these.

    Examples
    --------
    >>> from lmm.family import family_named
    >>> family_named("Gamma")
    Gamma(link='inverse')
    """
    if isinstance(family, Family):
        return family
    if isinstance(family, type) and issubclass(family, Family):
        return family()
    if isinstance(family, str):
        return _of_name(family)
    if type(family).__module__.partition(".")[0] == "statsmodels":
        return _of_statsmodels(family)
    raise DataError(
        f"family must be a name or an object such as lmm.Binomial('probit'), not {family!r}"
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _of_name(name: str) -> Family:
    if _plain(name).startswith("quasi"):
        raise DataError(
            f'"{name}" families cannot be used in glmer: they have no likelihood. For '
            "overdispersed counts use glmer_nb, or add a random intercept per observation"
        )
    known = {_plain(key): family for key, family in FAMILIES.items()}
    kind, _, rest = name.partition("(")
    if rest and _plain(kind) in known:
        raise DataError(
            f"a family with its link is an object: write lmm.{type(known[_plain(kind)]()).__name__}"
            f"(link=...) instead of the text {name!r}"
        )
    if _plain(name) not in known:
        raise DataError(f"Unknown family {name!r}.{nearest(name, FAMILIES)}")
    return known[_plain(name)]()


def _of_statsmodels(family: Any) -> Family:
    """The family of a statsmodels object, by the names of its class and its link's."""
    link = STATSMODELS_LINKS.get(_plain(type(family.link).__name__))
    kind = {_plain(name): kind for name, kind in FAMILIES.items()}.get(
        _plain(type(family).__name__)
    )
    if kind is None or link is None:
        raise DataError(
            f"statsmodels' {type(family).__name__} with link {type(family.link).__name__} has no "
            f"counterpart here.{nearest('', FAMILIES)}"
        )
    if kind is NegativeBinomial:
        return NegativeBinomial(theta=1.0 / float(family.alpha), link=link)
    return kind(link)
