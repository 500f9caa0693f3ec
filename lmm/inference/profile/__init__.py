"""Profile likelihood of every parameter."""
