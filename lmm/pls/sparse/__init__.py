"""The sparse solver, over CHOLMOD or SciPy's SuperLU."""
