"""Results as text in R's form, as HTML and as labelled tables."""
