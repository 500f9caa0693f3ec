"""The tail of crossed grouping factors by iteration: nothing is factored."""

__all__ = ["LINEAR_ONLY"]

LINEAR_ONLY = (
    "solver='krylov' fits linear mixed models: generalized ones need the covariances of all pairs "
    "of levels that occur together. Use solver='sparse'."
)
