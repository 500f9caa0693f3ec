"""What follows from a fit: intervals, tests, resampling. Functions of a `Fit`."""
