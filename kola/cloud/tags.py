"""Whose a resource of a cloud is: tags that every provider takes, written when it is made. Pure.

Providers differ in what a tag may hold; Google's labels allow least (lower case, digits, hyphen and underscore, 63
characters), so that is what is written everywhere. An owner's name that does not fit gets a digest of the whole name
behind what is left of it: two owners never look alike.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kola.platform import RunContext, Scope

PREFIX = "kola-"
_LONGEST = 63
_DIGEST = 8
_REQUIRED = ("run", "owner", "worker", "name", "created", "ttl")


def label(text: str) -> str:
    """Return a text as every provider takes it in a tag; different texts stay different."""
    plain = re.sub(r"[^a-z0-9_-]", "-", text.lower())
    if plain == text and len(text) <= _LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
    return f"{plain[: _LONGEST - _DIGEST - 1]}-{digest}"


@dataclass(frozen=True)
class Tags:
    """Whose a resource is.

    Attributes:
        run: id of the run that made it.
        owner: who ran that, as a ``label``.
        worker: which process of the run.
        name: of the machine that it belongs to; empty for what all machines of the run share.
        created: unix seconds; of a shared image, when it was last used.
        ttl: seconds after that in which it may be needed; of a shared image, how long it stays.
        digest: of a finished image that later runs may use: no run's sweep takes it, only its age.
    """

    run: str
    owner: str
    worker: str
    name: str
    created: int
    ttl: int
    digest: str = ""

    @classmethod
    def of(cls, context: RunContext, *, now: float, ttl: float, name: str = "") -> Tags:
        """Return the tags for something that a process makes for a machine, or (no name) for its whole run."""
        return cls(context.run_id, label(context.owner), label(context.worker), label(name), int(now), int(ttl))

    def shared(self, digest: str, *, now: float, ttl: float) -> Tags:
        """Return the tags of an image that later runs may use."""
        return replace(self, digest=digest, created=int(now), ttl=int(ttl))

    def as_labels(self) -> dict[str, str]:
        """Return them as key and value."""
        fields = {name: str(getattr(self, name)) for name in (*_REQUIRED, "digest")}
        return {PREFIX + name: value for name, value in fields.items() if value}

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> Tags | None:
        """Read them back; None if that is not a whole set: then it is not kola's. Keys in any case (Azure)."""
        found = {key.lower().removeprefix(PREFIX): value for key, value in labels.items() if key.lower()[:5] == PREFIX}
        found.setdefault("name", "")
        if not all(key in found for key in _REQUIRED) or not (found["created"] + found["ttl"]).isdecimal():
            return None
        return cls(
            found["run"], found["owner"], found["worker"], found["name"], int(found["created"]), int(found["ttl"]),
            found.get("digest", ""),
        )  # fmt: skip

    def as_text(self) -> str:
        """Return them as one text, for what has a description but no tags."""
        return " ".join(f"{key}={value}" for key, value in self.as_labels().items())

    @classmethod
    def from_text(cls, text: str) -> Tags | None:
        """Read them back from a description; None if it holds no whole set."""
        return cls.from_labels(dict(pair.split("=", 1) for pair in text.split() if "=" in pair))


def covered(tags: Tags, scope: Scope, now: float) -> bool:
    """Tell whether a sweep may touch something.

    What a run's machines share stays as long as one of them is kept. A shared image only goes by age, and before its
    time is over only where the run that used it last is named.
    """
    age = now - tags.created
    if scope.keep and not tags.name:
        return False
    if tags.digest and (scope.older_than is None or (scope.run_id is None and age <= tags.ttl)):
        return False
    return scope.covers(
        name=tags.name,
        owner=scope.owner if tags.owner == label(scope.owner) else "",
        run_id=tags.run,
        worker=tags.worker,
        age=age,
    )
