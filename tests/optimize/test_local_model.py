"""The quadratic model of a criterion in local coordinates."""

import numpy as np

from lmm.optimize.charts import LocalModel


def test_an_indefinite_information_loses_no_direction():
    """Solvers that leave out couplings give such ones, where effects are more than rows."""
    hessian, gradient = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([1.0, -0.2])
    information = np.array([[1.0, 1.1], [1.1, 1.0]])
    nothing, known = np.zeros(2), np.ones(2, dtype=bool)
    model = LocalModel((), (), np.eye(2), gradient, hessian, information, nothing, nothing, known)
    expected = -np.linalg.solve(hessian, gradient)
    np.testing.assert_allclose(model.newton_step(), expected, rtol=1e-12)
