"""How the servers of a rehearsal handle connections."""

from werkzeug.serving import WSGIRequestHandler


class QuietHandler(WSGIRequestHandler):
    """Keeps connections open, as providers do, and says nothing of what it serves."""

    protocol_version = "HTTP/1.1"

    def log(self, *_args: object) -> None:
        """Say nothing: bodies and addresses of a rehearsal are of no interest, faults have a log of their own."""
