"""Adaptive quadrature, and fixed effects at the joint mode, against R and differences."""

import numpy as np
import pytest

import lmm
from generalized import IDS, fitted, many, reference, table
from laplace.cases import STRUCTURES, simulated
from laplace.test_derivatives import differences
from lmm.family import Binomial, Gamma, NegativeBinomial, Poisson
from lmm.laplace import LaplaceCriterion

FAMILIES = (Binomial(), Binomial("probit"), Poisson(), NegativeBinomial(), Gamma("log"))
SINGLE = ("one", "slopes", "independent")
RULES = [(m, int(rule["k"])) for m in IDS for rule in reference(m).get("AGQ") or []]
JOINT = [m for m in IDS if reference(m).get("nAGQ0") and not reference(m)["useSc"]]


@pytest.mark.parametrize("information", ["expected", "observed"])
@pytest.mark.parametrize("nagq, structure", [*((5, s) for s in SINGLE), (0, "one"), (0, "crossed")])
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_derivatives(family, nagq, structure, information):
    matrices = simulated(family, STRUCTURES[structure])
    criterion = LaplaceCriterion(matrices, family, nagq, information)
    x = next(iter(criterion.starts()))
    here = criterion.known(x)
    gradient, hessian = differences(criterion, x)
    size = np.sqrt(np.abs(np.diag(hessian))).max()
    np.testing.assert_allclose(here.gradient, gradient, rtol=1e-6, atol=1e-6 * size)
    # of quadrature the Hessian is Laplace's, of the joint mode its own
    np.testing.assert_allclose(here.hessian, hessian, atol=(0.15 if nagq else 1e-6) * size**2)


@pytest.mark.parametrize("model, k", RULES)
def test_quadrature_of_r(model, k):
    """R's criterion lacks the saturated log-likelihood, and its modes are not exact."""
    m, r = fitted(model, k), next(a for a in reference(model)["AGQ"] if int(a["k"]) == k)
    assert m.converged
    assert m.optimum.exact_hessian
    assert -1e-6 < m.deviance() - r["criterion_plus_saturated"] < 2e-7
    np.testing.assert_allclose(m.bse, r["se"], rtol=1e-3)
    criterion = m.fit.criterion
    for point in r["criterion_at"]:
        x = criterion.to_x(np.concatenate([many(point["theta"]), many(point["beta"])]))
        expected = point["value"] + reference(model)["saturated"]
        assert criterion.value(x) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("model", JOINT)
def test_joint_mode_of_r(model):
    m, r = fitted(model, 0), reference(model)["nAGQ0"]
    tolerance = 1e-3 if reference(model)["nb_estimated"] else 1e-6
    assert m.converged
    assert m.deviance() - r["criterion"] < tolerance
    np.testing.assert_allclose(m.beta, many(r["beta"]), rtol=1e-3, atol=1e-3)


def test_print_of_r():
    m = fitted("cbpp", 9)
    head = str(m).splitlines()[:2]
    assert head == [
        "Generalized linear mixed model fit by maximum likelihood (Adaptive",
        "  Gauss-Hermite Quadrature, nAGQ = 9) [glmerMod]",
    ]


def test_one_node_is_laplace():
    """A rule of one node is the approximation itself, through the code of many."""
    matrices = simulated(Poisson(), STRUCTURES["slopes"])
    laplace = LaplaceCriterion(matrices, Poisson())
    x = next(iter(laplace.starts()))
    from lmm.laplace.quadrature import Quadrature

    e = laplace.known(x).expansion
    one = Quadrature(e.model, e.place, e.mode, e.information, 1, 1)
    assert one.value == pytest.approx(laplace.value(x), abs=1e-9)
    np.testing.assert_allclose(one.score, e.score, rtol=1e-6, atol=1e-6)


def test_more_nodes_than_offered():
    matrices = simulated(Poisson(), STRUCTURES["crossed"])
    with pytest.raises(ValueError, match="only available for models with a single grouping factor"):
        LaplaceCriterion(matrices, Poisson(), 5)
    with pytest.raises(ValueError, match=r"1 grouping factors, 2 columns and 101\^2 nodes"):
        LaplaceCriterion(simulated(Poisson(), STRUCTURES["slopes"]), Poisson(), 101)


def test_vector_terms():
    """Which glmer refuses: two columns converge as the nodes grow."""
    data = simulated(Poisson(), STRUCTURES["slopes"])
    values = [lmm.minimize(LaplaceCriterion(data, Poisson(), k)).value for k in (1, 5, 9, 15)]
    assert abs(values[3] - values[2]) < 1e-5 < abs(values[1] - values[0])


def test_joint_mode_without_fixed_effects():
    """Is that of the random effects alone."""
    data = table("cbpp")
    formula = "cbind(incidence, size - incidence) ~ 0 + (1 | herd)"
    joint, laplace = (lmm.glmer(formula, data, nagq=nagq) for nagq in (0, 1))
    assert joint.deviance() == pytest.approx(laplace.deviance(), abs=1e-9)


def test_nodes_beyond_the_link_have_no_weight_in_their_level_alone():
    """Other levels keep the node; the mode of the first level is close to the link's end."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(6), 4)
    mean = np.array([0.3, 4.0, 5.0, 6.0, 5.0, 4.0])[g]
    data = {"y": rng.gamma(3.0, mean / 3.0), "x": rng.normal(size=24), "g": g}
    family = Gamma("identity")
    criterion = LaplaceCriterion(lmm.build_matrices("y ~ x + (1 | g)", data), family, 5)
    x = criterion.to_x(np.array([3.0, 3.8, 0.0, 1.0]))
    alone = 0.0
    for level in range(6):
        rows = {name: np.append(v[g == level], v[g == level]) for name, v in data.items()}
        rows["g"] = np.repeat([0, 1], 4)
        twice = LaplaceCriterion(lmm.build_matrices("y ~ x + (1 | g)", rows), family, 5)
        alone += 0.5 * twice.value(twice.to_x(np.array([3.0, 3.8, 0.0, 1.0])))
    assert criterion.value(x) == pytest.approx(alone, abs=1e-9)
    np.testing.assert_allclose(criterion.gradient(x), differences(criterion, x)[0], atol=1e-5)
