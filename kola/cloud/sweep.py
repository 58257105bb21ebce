"""Removes what carries the tags of a run, or is old: one kind of resource after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.errors import PlatformError, WaitTimeout
from kola.retry import MissingError
from kola.wait import Deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kola.cloud.tags import Tags
    from kola.retry import Caller

GONE_SECONDS = 600.0
POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Found:
    """A resource that exists.

    Attributes:
        id: what the provider calls it.
        tags: whose it is.
    """

    id: str
    tags: Tags

    def __str__(self) -> str:
        return f"{self.id} ({self.tags.name or self.tags.digest[:12] or self.tags.run})"


@dataclass(frozen=True)
class Kind:
    """A kind of resource. A driver gives them in the order in which they can be deleted.

    Attributes:
        name: in the singular, such as ``volume``.
        find: returns those that carry kola's tags and are not being deleted already, unless others have to wait for
            their end; the caller filters.
        delete: begins to delete the one with that id; may be called again; one that is gone is a ``Fault.MISSING``.
        remaining: given ids of deleted ones, returns those that still stand in the way of the next kinds; None: none.
    """

    name: str
    find: Callable[[], Iterable[Found]]
    delete: Callable[[str], object]
    remaining: Callable[[Sequence[str]], Iterable[str]] | None = None


def find(kinds: Iterable[Kind], covers: Callable[[Tags], bool], call: Caller) -> dict[str, list[Found]]:
    """Return what there is, by the name of its kind."""
    return {kind.name: [found for found in _listed(kind, call) if covers(found.tags)] for kind in kinds}


def sweep(
    kinds: Iterable[Kind],
    covers: Callable[[Tags], bool],
    call: Caller,
    *,
    interval: float = POLL_SECONDS,
    seconds: float = GONE_SECONDS,
) -> list[str]:
    """Delete what is covered; idempotent.

    Args:
        kinds: in order of deletion.
        covers: tells by its tags whether something may go.
        call: makes the calls.
        interval: seconds between two looks at what is being deleted.
        seconds: how long a kind may take to be gone.

    Returns:
        Kind and id of what was deleted, sorted.

    Raises:
        PlatformError: something could not be found or deleted; everything else was.
    """
    removed: list[str] = []
    problems: list[str] = []
    for kind in kinds:
        try:
            wanted = [found.id for found in _listed(kind, call) if covers(found.tags)]
        except PlatformError as e:
            problems.append(f"{kind.name}s: {e}")
            continue
        deleted = []
        for one in wanted:
            try:
                call(kind.delete, one)
            except MissingError:
                pass
            except PlatformError as e:
                problems.append(f"{kind.name} {one}: {e}")
                continue
            deleted.append(one)
        removed += (f"{kind.name} {one}" for one in deleted)
        if deleted and kind.remaining is not None:
            problems += _await_gone(kind, deleted, call, interval, seconds)
    if problems:
        raise PlatformError(f"sweep: {'; '.join(problems)}")
    return sorted(removed)


def _listed(kind: Kind, call: Caller) -> list[Found]:
    def find() -> list[Found]:  # all pages of it in one attempt
        return list(kind.find())

    return call(find)


def _await_gone(kind: Kind, deleted: Sequence[str], call: Caller, interval: float, seconds: float) -> list[str]:
    def look() -> list[str]:
        assert kind.remaining is not None  # noqa: S101 - for the type checker
        return list(kind.remaining(deleted))

    try:
        wait_until(lambda: not call(look), Deadline(seconds), what=f"the end of {kind.name}s", interval=interval)
    except (PlatformError, WaitTimeout) as e:
        return [f"{kind.name}s: {e}"]
    return []
