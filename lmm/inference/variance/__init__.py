"""Variance parameters: intervals, likelihood-ratio tests, parts of the variance."""
