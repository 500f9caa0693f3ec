"""The modular steps give what lmer gives."""

import numpy as np
import pytest

import lmm
from fits import fitted


def assembled():
    matrices = lmm.build_matrices(
        lmm.parse_formula("Reaction ~ Days + (Days | Subject)"), lmm.load_dataset("sleepstudy")
    )
    criterion = lmm.ProfiledCriterion(matrices, reml=True)
    return lmm.LinearMixedModel.at(criterion, lmm.minimize(criterion))


def test_steps_end_at_the_same_model():
    m = assembled()
    assert str(m).replace("   Data: sleepstudy\n", "") == str(fitted("slopes")).replace(
        "   Data: sleepstudy\n", ""
    )
    np.testing.assert_array_equal(m.theta, fitted("slopes").theta)
    assert m.refit_ml().deviance() == pytest.approx(1751.939344, abs=1e-6)


@pytest.mark.parametrize(
    "act",
    [
        lambda m, path: m.update(". ~ . - Days"),
        lambda m, path: m.update(data=lmm.load_dataset("sleepstudy")),
        lambda m, path: m.save(path),
        lambda m, path: m.augment(),
    ],
)
def test_without_data_there_is_nothing_to_repeat(act, tmp_path):
    with pytest.raises(TypeError, match="put together from its parts"):
        act(assembled(), tmp_path / "model.lmm")
