"""Estimated marginal means: reference grid, linear functions, contrasts, adjustments."""
