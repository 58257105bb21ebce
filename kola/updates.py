"""The update server of a test: what Zincati asks it, and what Fedora's own would answer, over ``kola.httpd``.

Protocol: https://coreos.github.io/zincati/development/cincinnati/protocol/
"""

from __future__ import annotations

import threading
import time
from typing import IO, TYPE_CHECKING

from kola.cincinnati import Release, graph_of, wariness_of
from kola.httpmessage import Refused, Reply, Request, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kola.httpd import HttpServer

GRAPH_PATH = "/v1/graph"


class UpdateServer:
    """Streams of releases, which a test publishes and changes at any time; machines see it with their next question.

    Args:
        server: that guests reach it through; its faults and its record are the update server's.
        clock: gives the time that rollouts go by, in seconds since the epoch.
    """

    def __init__(self, server: HttpServer, clock: Callable[[], float] = time.time) -> None:
        self.server = server
        self._clock = clock
        self._lock = threading.Lock()
        self._streams: dict[tuple[str, str], tuple[Release, ...]] = {}
        server.route(GRAPH_PATH, self._answer)

    @property
    def base_url(self) -> str:
        """For guests: ``base_url`` of ``[cincinnati]`` in Zincati's configuration."""
        return self.server.url()

    def publish(self, releases: Iterable[Release], *, stream: str = "stable", basearch: str = "x86_64") -> None:
        """Let a stream be these releases, oldest first; one that was published before is replaced.

        Raises:
            ConfigError: a version is there twice.
        """
        listed = tuple(releases)
        graph_of(listed, oci=False)
        with self._lock:
            self._streams[basearch, stream] = listed

    def questions(self) -> list[Request]:
        """Return all questions for a graph so far, oldest first; what they say is in ``query``."""
        return self.server.requests(GRAPH_PATH)

    def wait_for_question(self, *, count: int = 1, timeout: float = 60) -> Request:
        """Wait for the question of that number, from the beginning, and return it; see ``HttpServer``.

        Raises:
            WaitTimeout: there were fewer after so many seconds on a fast machine.
        """
        return self.server.wait_for_request(GRAPH_PATH, count=count, timeout=timeout)

    def _answer(self, request: Request, _body: IO[bytes]) -> Reply:
        releases = self._releases(request)
        query = request.query
        wariness = wariness_of(query.get("rollout_wariness", ""), query.get("node_uuid", ""))
        graph = graph_of(releases, oci=query.get("oci") == "true").throttled(wariness, self._clock())
        return Reply(200, graph.to_json(), {"Content-Type": "application/json"})

    def _releases(self, request: Request) -> tuple[Release, ...]:
        """Return what was published for the scope of a question; one that has none is refused."""
        query = request.query
        if request.method not in {"GET", "HEAD"}:
            raise problem(405, "method_not_allowed", f"{request.method} is not allowed here", Allow="GET, HEAD")
        if missing := [key for key in ("basearch", "stream") if not query.get(key, "")]:
            raise problem(400, "invalid_scope", f"missing or empty: {', '.join(missing)}")
        if (oci := query.get("oci", "false")) not in {"true", "false"}:
            raise problem(400, "invalid_scope", f"oci='{oci}': expected true or false")
        scope = query["basearch"], query["stream"]
        with self._lock:
            found, known = self._streams.get(scope), sorted(self._streams)
        if found is None:
            names = ", ".join(f"basearch='{basearch}' stream='{stream}'" for basearch, stream in known) or "nothing"
            text = f"basearch='{scope[0]}' stream='{scope[1]}' was not published; published: {names}"
            raise problem(400, "invalid_scope", text)
        return found


def problem(status: int, kind: str, value: str, **headers: str) -> Refused:
    """Return an error as both of Zincati's protocols have it: a kind for its metrics, a text for its log."""
    return Refused(json_reply(status, {"kind": kind, "value": value}, **headers))
