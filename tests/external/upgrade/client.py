"""What Zincati does with an update server, for systems that lack it: the question, and what it makes of the answer.

Pure. Written from its source (coreos/zincati: src/identity, src/cincinnati); a unit test compares it with the client
that the server's contract tests use.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from kola.cincinnati import AGE_INDEX, DEADEND, DEADEND_REASON, SCHEME

APPLICATION = "de35106b6ec24688b63afddaa156679b"
"""What ``systemd-id128 machine-id --app-specific=`` makes Zincati's node_uuid of."""


@dataclass(frozen=True)
class Identity:
    """A machine, as it introduces itself.

    Attributes:
        payload: of the booted release: the checksum of a commit, or ``NAME@sha256:DIGEST`` of an image.
        wariness: 0.0 to 1.0; None leaves it to the server.
    """

    basearch: str
    stream: str
    platform: str
    node_uuid: str
    version: str
    payload: str
    group: str = "default"
    wariness: float | None = None

    @property
    def scheme(self) -> str:
        """How releases are named: ``oci`` for images, ``checksum`` for commits."""
        return "oci" if "@sha256:" in self.payload else "checksum"

    def parameters(self) -> dict[str, str]:
        """Return what the question says."""
        said = {
            "basearch": self.basearch, "stream": self.stream, "platform": self.platform, "group": self.group,
            "node_uuid": self.node_uuid, "os_version": self.version, "os_checksum": self.payload,
        }  # fmt: skip
        if self.scheme == "oci":
            said["oci"] = "true"
        if self.wariness is not None:
            said["rollout_wariness"] = f"{self.wariness:.6f}"
        return said


@dataclass(frozen=True, order=True)
class Offer:
    """A release that the server lets the machine go to; the newest one is the greatest."""

    age: int
    version: str
    payload: str


@dataclass(frozen=True)
class Answer:
    """What a machine reads in a graph.

    Attributes:
        known: whether its own release is there.
        update: the newest release that an edge leads to from its own, None if there is no newer one.
        deadend: why its release is a dead end; None if it is not.
    """

    known: bool
    update: Offer | None
    deadend: str | None


def read_graph(text: str, identity: Identity) -> Answer:
    """Choose as Zincati does, which never goes back to an older release."""
    graph = json.loads(text)
    nodes = graph["nodes"]
    own = [n for n, node in enumerate(nodes) if (node["payload"], _scheme(node)) == (identity.payload, identity.scheme)]
    if not own:
        return Answer(known=False, update=None, deadend=None)
    booted, metadata = _offer(nodes[own[0]]), nodes[own[0]]["metadata"]
    update = max((_offer(nodes[end]) for start, end in graph["edges"] if start == own[0]), default=None)
    deadend = metadata.get(DEADEND_REASON, "") if metadata.get(DEADEND) == "true" else None
    return Answer(known=True, update=update if update and update > booted else None, deadend=deadend)


def _scheme(node: dict[str, dict[str, str]]) -> str:
    return node["metadata"].get(SCHEME, "")


def _offer(node: dict[str, dict[str, str]]) -> Offer:
    return Offer(int(node["metadata"][AGE_INDEX]), str(node["version"]), str(node["payload"]))
