"""Diagnostics of a fit: residuals, leverages, influence, convergence."""
