"""Tables in files: what the command line reads and writes."""
