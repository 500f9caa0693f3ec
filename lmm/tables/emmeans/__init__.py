"""Estimated marginal means, trends and joint tests as tables."""
