"""What must hold of every parser whatever it is given; Hypothesis thinks of it."""
