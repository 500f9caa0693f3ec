"""Tests of fixed effects: contrasts, degrees of freedom, robust covariances."""
