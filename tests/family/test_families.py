"""Every family with every link: R's values on grids, tails, and derivatives by differences."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import lmm.family
from lmm.errors import DataError
from lmm.family import (
    Binomial,
    Family,
    Gamma,
    Gaussian,
    InverseGaussian,
    NegativeBinomial,
    Poisson,
    family_named,
)

REFERENCE = Path(__file__).parents[1] / "reference"
TABLES = json.loads((REFERENCE / "family" / "families.json").read_text())
TAILS = json.loads((REFERENCE / "family" / "family_tails.json").read_text())
ALL = [
    *(Binomial(link) for link in Binomial.links),
    *(Poisson(link) for link in Poisson.links),
    *(NegativeBinomial(theta, link) for link in Poisson.links for theta in (None, 1.7)),
    *(Gamma(link) for link in Gamma.links),
    *(Gaussian(link) for link in Gaussian.links),
    *(InverseGaussian(link) for link in InverseGaussian.links),
]


def of_table(table: dict) -> Family:
    if table["family"].startswith("Negative"):
        return NegativeBinomial(1.7, table["link"])
    return lmm.family.FAMILIES[table["family"]](table["link"])


def predictor(family: Family, n: int, rng: np.random.Generator):
    """Linear predictors at which all means are possible."""
    eta = rng.normal(0.0, 1.0, n)
    if family.link in ("sqrt", "inverse", "1/mu^2") or (
        family.link == "identity" and family.name != "gaussian"
    ):
        return np.abs(eta) + 0.4
    if family.name == "binomial" and family.link == "log":
        return -np.abs(eta) - 0.3
    return eta


def rows_of(family: Family, n: int = 30, seed: int = 1) -> SimpleNamespace:
    rng = np.random.default_rng(seed)
    eta = predictor(family, n, rng)
    weights = rng.integers(1, 6, n).astype(float)
    xi = 0.4
    y = family.draw(rng, family.inverse(eta), weights, family.shape_of(xi))
    return SimpleNamespace(eta=eta, xi=xi, bound=family.conditional(y, weights), y=y, w=weights)


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t["name"])
def test_tables_of_r(table):
    family = of_table(table)
    eta = np.array(table["eta"], dtype=float)
    # R clamps the tails of these two at the rounding unit
    clamped = table["name"] in ("binomial_probit", "binomial_cloglog")
    inside = (eta > -6.0) & (eta <= 2.0) if clamped else np.isfinite(eta)
    mu, y, w = (np.array(table[k], dtype=float)[inside] for k in ("mu", "y", "weights"))
    eta = eta[inside]

    def of(name):
        return np.array(table[name], dtype=float)[inside]

    np.testing.assert_allclose(family.inverse(eta), mu, rtol=1e-12)
    np.testing.assert_allclose(family.link_function.slope(eta), of("mu_eta"), rtol=1e-10)
    links = family.link_function(mu)
    np.testing.assert_allclose(links, of("link_of_mu"), rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(family.variance(mu, 1.7), of("variance"), rtol=1e-12)
    deviances = family.deviances(y, mu, w, 1.7)
    np.testing.assert_allclose(deviances, of("deviance_residuals_squared"), rtol=1e-9, atol=1e-12)
    if table["minus2loglik"] is not None and not clamped:
        bound = family.conditional(y, w)
        # R rounds 4 * 0.25 successes: 1
        np.testing.assert_allclose(-2.0 * bound.loglik(eta, 0.0), table["minus2loglik"], rtol=1e-12)


@pytest.mark.parametrize("family", ALL, ids=str)
def test_derivatives(family):
    r = rows_of(family)
    h = 1e-5
    here = r.bound.at(r.eta, r.xi, 2)
    up, down = (r.bound.at(r.eta + s * h, r.xi, 2) for s in (1.0, -1.0))
    ups, downs = (r.bound.loglik_rows(r.eta + s * h, r.xi) for s in (1.0, -1.0))

    def agrees(exact, above, below):
        np.testing.assert_allclose(exact, (above - below) / (2.0 * h), rtol=1e-6, atol=2e-6)

    agrees(here.score, ups, downs)
    agrees(-here.observed[0], up.score, down.score)
    for jets in ("expected", "observed"):
        jet = getattr(here, jets)
        assert len(jet) == 3
        for n in range(2):
            agrees(jet[n + 1], getattr(up, jets)[n], getattr(down, jets)[n])


@pytest.mark.parametrize("family", [f for f in ALL if f.shape_name], ids=str)
@pytest.mark.parametrize("xi", [-0.7, 0.4, 6.0])
def test_derivatives_by_the_shape(family, xi):
    r = rows_of(family)
    h = 1e-5
    here = r.bound.at(r.eta, xi, 2)
    up, down = (r.bound.at(r.eta, xi + s * h, 2) for s in (1.0, -1.0))

    def agrees(exact, above, below):
        np.testing.assert_allclose(exact, (above - below) / (2.0 * h), rtol=1e-6, atol=3e-6)

    s = here.shape
    agrees(s.first, up.loglik, down.loglik)
    agrees(s.second, up.shape.first, down.shape.first)
    agrees(s.score1, up.score, down.score)
    agrees(s.score2, up.shape.score1, down.shape.score1)
    for n in range(2):
        agrees(s.expected1[n], up.expected[n], down.expected[n])
        agrees(s.observed1[n], up.observed[n], down.observed[n])
    agrees(s.expected2, up.shape.expected1[0], down.shape.expected1[0])
    agrees(s.observed2, up.shape.observed1[0], down.shape.observed1[0])
    rows = (r.bound.loglik_rows(r.eta, xi + sign * h) for sign in (1.0, -1.0))
    agrees(r.bound.shape_slopes(r.eta, xi), *rows)


@pytest.mark.parametrize("family", ALL, ids=str)
def test_rows_sum_to_the_whole(family):
    r = rows_of(family)
    here = r.bound.at(r.eta, r.xi, 0)
    whole = r.bound.loglik(r.eta, r.xi)
    np.testing.assert_allclose(here.loglik, whole, rtol=1e-13)
    np.testing.assert_allclose(r.bound.loglik_rows(r.eta, r.xi).sum(), whole, rtol=1e-12)
    np.testing.assert_allclose(r.bound.score_rows(r.eta, r.xi), here.score, rtol=1e-12, atol=1e-14)
    assert (here.observed is here.expected) == family.is_canonical


@pytest.mark.parametrize("family", ALL, ids=str)
def test_expected_information_is_the_mean_of_the_observed(family):
    """Also that the score has mean zero: averages over many draws."""
    r = rows_of(family, n=3)
    rng = np.random.default_rng(5)
    shape = family.shape_of(r.xi)
    eta = np.repeat(r.eta, 40_000)
    weights = np.repeat(r.w, 40_000)
    y = family.draw(rng, family.inverse(eta), weights, shape)
    rows = family.conditional(y, weights).at(eta, r.xi, 0)
    root = np.sqrt(rows.expected[0])
    standardized = (rows.score / root).reshape(3, -1)
    assert np.abs(standardized.mean(axis=1)).max() < 0.03
    ratio = (rows.observed[0] / rows.expected[0]).reshape(3, -1).mean(axis=1)
    np.testing.assert_allclose(ratio, 1.0, atol=0.08)


def test_log_likelihoods_of_scipy():
    y, mu, w = np.array([0.4, 2.0, 3.5]), np.array([0.7, 1.5, 5.0]), np.array([1.0, 2.0, 3.0])
    phi = 0.6
    a = w / phi
    expected = {
        Gamma("log"): stats.gamma.logpdf(y, a, scale=mu / a),
        Gaussian("log"): stats.norm.logpdf(y, mu, np.sqrt(phi / w)),
        InverseGaussian("log"): stats.invgauss.logpdf(y, mu * phi / w, scale=w / phi),
    }
    for family, values in expected.items():
        bound = family.conditional(y, w)
        np.testing.assert_allclose(bound.loglik_rows(np.log(mu), np.log(phi)), values, rtol=1e-11)


@pytest.mark.parametrize("theta", TAILS["negative_binomial"])
def test_negative_binomial_for_all_theta(theta):
    """To the Poisson limit, against 50 digits: Gamma functions of large numbers do not cancel."""
    y, mu = np.array(TAILS["counts"]).T
    exact = np.array(TAILS["negative_binomial"][theta])
    bound = NegativeBinomial().conditional(y, np.ones(4))
    x = float(np.log(float(theta)))
    np.testing.assert_allclose(bound.loglik_rows(np.log(mu), x), exact[:, 0], rtol=1e-12)
    shape = bound.at(np.log(mu), x, 1).shape
    np.testing.assert_allclose(bound.shape_slopes(np.log(mu), x), exact[:, 1], atol=2e-12)
    np.testing.assert_allclose(shape.second, exact[:, 2].sum(), atol=1e-11, rtol=1e-9)


@pytest.mark.parametrize("link", Binomial.links)
def test_tails_keep_their_digits(link):
    """Where R clamps probabilities at 2.2e-16: scores and weights against 50 digits."""
    table = TAILS["binomial"][link]
    eta, exact = np.array(table["eta"]), np.array(table["derivatives"])
    bound = Binomial(link).conditional(np.full(len(eta), 0.25), np.full(len(eta), 4.0))
    rows = bound.at(eta, 0.0, 2)
    np.testing.assert_allclose(bound.loglik_rows(eta, 0.0), exact[:, 0], rtol=1e-12)
    np.testing.assert_allclose(rows.score, exact[:, 1], rtol=1e-9)
    for n in range(3):
        np.testing.assert_allclose(rows.observed[n], -exact[:, n + 2], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("family", ALL, ids=str)
def test_draws_and_distribution_functions(family):
    """Means, variances, and P(Y <= y) of many draws from one row."""
    rng = np.random.default_rng(3)
    n, shape = 20_000, family.shape_of(-1.0)
    mu, w = np.full(n, 0.3 if family.name == "binomial" else 2.0), np.full(n, 4.0)
    y = family.draw(rng, mu, w, shape)
    weight = 1.0 if family.name in ("poisson", "negative binomial") else 4.0
    phi = shape if family.has_scale else 1.0
    variance = phi * float(family.variance(mu, shape)[0]) / weight
    assert abs(y.mean() - mu[0]) < 4.0 * np.sqrt(variance / n)
    np.testing.assert_allclose(y.var(), variance, rtol=0.1)
    at = np.full(n, np.sort(y)[n // 2])
    below, upto = family.cdf(at, mu, w, shape)
    np.testing.assert_allclose(below[0], (y < at[0] - 1e-9).mean(), atol=0.015)
    np.testing.assert_allclose(upto[0], (y <= at[0] + 1e-9).mean(), atol=0.015)


def test_impossible_means_have_no_likelihood():
    y, w = np.array([0.0, 2.0]), np.ones(2)
    assert Poisson("identity").conditional(y, w).loglik(np.array([-1.0, 2.0]), 0.0) == -np.inf
    inverse = InverseGaussian("inverse").conditional(y + 1.0, w)
    assert inverse.loglik(np.array([-1.0, 2.0]), 0.0) == -np.inf


def test_probabilities_above_one_have_no_likelihood():
    """Of successes neither, though their likelihood has no factor of 1 - mu."""
    bound = lmm.Binomial("log").conditional(np.ones(2), np.ones(2))
    assert bound.loglik(np.array([-0.1, 0.1]), 0.0) == -np.inf
    assert bound.loglik(np.array([-0.1, 0.0]), 0.0) == -0.1
    np.testing.assert_allclose(lmm.Binomial("log").inverse(np.array([0.1])), np.exp(0.1))


@pytest.mark.parametrize("family", [lmm.Gamma("log"), lmm.InverseGaussian("log")])
@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_responses_whose_powers_overflow(family, size):
    with pytest.raises(lmm.DataError, match="measure it in another unit"):
        family.check(np.array([1.0, size]), np.ones(2))


def test_names():
    assert family_named("binomial") == Binomial("logit")
    assert family_named("Gamma") == family_named("gamma") == Gamma("inverse")
    assert family_named("inverse.gaussian") == family_named(InverseGaussian)
    assert family_named(Poisson("sqrt")) == Poisson("sqrt")
    assert NegativeBinomial(2.0).title == "Negative Binomial(2)"


def statsmodels_family(name: str, link: str, **attributes):
    """An object as statsmodels makes it, as far as names of classes and modules go."""
    module = "statsmodels.genmod.families.family"
    linked = type(link, (), {"__module__": "statsmodels.genmod.families.links"})()
    return type(name, (), {"__module__": module, "link": linked, **attributes})()


def test_families_of_statsmodels():
    assert family_named(statsmodels_family("Binomial", "Probit")) == Binomial("probit")
    assert family_named(statsmodels_family("Gamma", "InversePower")) == Gamma("inverse")
    assert family_named(statsmodels_family("InverseGaussian", "InverseSquared")) == (
        InverseGaussian()
    )
    negative = statsmodels_family("NegativeBinomial", "Log", alpha=0.5)
    assert family_named(negative) == NegativeBinomial(2.0)
    with pytest.raises(DataError, match="Tweedie"):
        family_named(statsmodels_family("Tweedie", "Log"))


@pytest.mark.parametrize(
    "family, message",
    [
        ("quasibinomial", "cannot be used in glmer: they have no likelihood"),
        ("binomal", "Unknown family 'binomal'. Did you mean 'binomial'"),
        (3, "family must be a name or an object"),
    ],
)
def test_unknown_families(family, message):
    with pytest.raises(DataError, match=message):
        family_named(family)


def test_unknown_links():
    with pytest.raises(DataError, match=r"no link 'probitt'\. Did you mean 'probit'"):
        Binomial("probitt")
    with pytest.raises(DataError, match="theta of a negative binomial must be a positive number"):
        NegativeBinomial(-1.0)


@pytest.mark.parametrize(
    "family, y, message",
    [
        (Binomial(), [0.0, 1.2], "y values must be 0 <= y <= 1"),
        (Poisson(), [-1.0, 2.0], "negative values not allowed for the 'Poisson' family"),
        (Poisson(), [0.5, 2.0], "must be counts, but one is 0.5"),
        (NegativeBinomial(), [-1.0], "negative values not allowed for the 'negative binomial'"),
        (Gamma(), [0.0], "non-positive values not allowed for the 'Gamma' family"),
        (InverseGaussian(), [0.0], "positive values only are allowed for the 'inverse.gaussian'"),
        (Gaussian("log"), [-1.0, -2.0], "no response is positive"),
    ],
)
def test_impossible_responses(family, y, message):
    with pytest.raises(DataError, match=message):
        family.check(np.array(y), np.ones(len(y)))


def test_gamma_of_small_dispersion_is_normal():
    """Where log gamma functions of large numbers would cancel."""
    phi, mu = 1e-14, np.full(5, 3.0)
    y = mu * (1.0 + np.sqrt(phi) * np.array([-1.5, -0.3, 0.0, 0.7, 2.0]))
    values = Gamma("log").conditional(y, np.ones(5)).loglik_rows(np.log(mu), np.log(phi))
    expected = stats.norm.logpdf(y, mu, np.sqrt(phi) * mu)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    shape = Gamma("log").conditional(y, np.ones(5)).at(np.log(mu), np.log(phi), 1).shape
    z = (y - mu) / (mu * np.sqrt(phi))
    np.testing.assert_allclose(shape.first, 0.5 * np.sum(z * z - 1.0), atol=1e-5)
