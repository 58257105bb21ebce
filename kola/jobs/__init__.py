"""Running the jobs of a matrix on this host: in parallel, with time limits, to be continued after a stop."""
