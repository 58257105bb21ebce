"""The one error this builder reports as a line instead of a traceback."""


class BuildError(Exception):
    """The build cannot go on; the message says what to do."""
