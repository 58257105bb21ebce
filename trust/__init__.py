"""Trust: whether the suites find what they are there for. Faults are put into the system, and the suites run on it."""
