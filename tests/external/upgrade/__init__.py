"""Updates: from one release to the next and back, over barriers, through faults and power cuts.

Every test needs an image that brings its updates (`updates` in image.json). A power cut here is a reset of the virtual
machine: what the guest has handed to its disk is there afterwards, in that order; a disk that loses or reorders what it
has acknowledged is not simulated.
"""
