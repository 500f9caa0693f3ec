"""The scikit-learn estimator."""

import numpy as np
import pytest

import lmm

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline

from lmm.sklearn import MixedRegressor


@pytest.fixture(scope="module")
def data():
    return lmm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def columns(data):
    return data[["Days", "Subject"]], data["Reaction"]


def test_it_fits_what_lmer_fits(data, columns):
    X, y = columns
    model = MixedRegressor("~ Days + (Days | Subject)").fit(X, y)
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data)
    np.testing.assert_allclose(model.predict(X), m.fitted(), rtol=1e-9)
    assert model.score(X, y) > 0.8
    assert model.n_features_in_ == 2
    assert list(model.feature_names_in_) == ["Days", "Subject"]


def test_groups_that_were_not_seen_get_the_population_mean(columns):
    X, y = columns
    model = MixedRegressor("~ Days + (Days | Subject)").fit(X, y)
    new = X.head(2).assign(Subject="another")
    np.testing.assert_allclose(model.predict(new), model.model_.predict(X.head(2), "~0"))
    strict = clone(model).set_params(allow_new_levels=False).fit(X, y)
    with pytest.raises(lmm.DataError, match="level"):
        strict.predict(new)


def test_cross_validation_by_groups(columns):
    X, y = columns
    model = MixedRegressor("~ Days + (Days | Subject)")
    folds = GroupKFold(3)
    scores = cross_val_score(model, X, y, groups=X["Subject"], cv=folds)
    held_out = cross_val_predict(model, X, y, groups=X["Subject"], cv=folds)
    assert scores.shape == (3,)
    assert np.isfinite(held_out).all()


def test_parameters_can_be_searched(columns):
    X, y = columns
    search = GridSearchCV(
        MixedRegressor("~ 1 + (1 | Subject)"),
        {"formula": ["~ 1 + (1 | Subject)", "~ Days + (Days | Subject)"]},
        cv=3,
    )
    assert search.fit(X, y).best_params_["formula"] == "~ Days + (Days | Subject)"
    assert make_pipeline(MixedRegressor("~ Days + (1 | Subject)")).fit(X, y).predict(X).shape == (
        180,
    )


def test_weights_arrays_and_a_column_called_y(columns):
    X, y = columns
    weights = np.linspace(1, 2, len(y))
    model = MixedRegressor("~ x0 + (1 | x1)")
    array = X.assign(Subject=X["Subject"].astype(int)).to_numpy(float)
    weighted = model.fit(array, y, sample_weight=weights)
    assert weighted.model_.weights[0] == 1
    assert MixedRegressor("~ y + (1 | Subject)").fit(X.rename(columns={"Days": "y"}), y)


def test_mistakes(columns):
    X, y = columns
    with pytest.raises(NotFittedError):
        MixedRegressor("~ Days + (1 | Subject)").predict(X)
    with pytest.raises(lmm.DataError, match="y has shape"):
        MixedRegressor("~ Days + (1 | Subject)").fit(X, y[:5])
    with pytest.raises(lmm.FormulaError):
        MixedRegressor("Reaction ~ Days + (1 | Subject)").fit(X, y)
