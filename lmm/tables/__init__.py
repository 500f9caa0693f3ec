"""Labelled results of tests, comparisons and summaries."""
