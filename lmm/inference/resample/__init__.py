"""Many responses for one design: the bootstrap, refits in lockstep, power."""
