"""Which tests share a machine: as many as go together, with all their configs merged into one. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kola import ignition
from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kola.external.model import ExternalTest


@dataclass
class _Bucket:
    """Tests that go together, and what their machine has to be."""

    tests: list[ExternalTest] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    merged: ignition.Config | None = None


def share(tests: Sequence[ExternalTest]) -> dict[str, ExternalTest]:
    """Distribute tests over as few machines as they allow.

    Two are kept apart if one of them says that it conflicts with the other, or if their configs contradict each other:
    then one of them would not get what it asks for.

    Args:
        tests: that may share a machine, those with ``exclusive: false``.

    Returns:
        Name -> the test with its number and the config of its machine. One that is alone on it stays as it is.
    """
    conflicts = {test.name: set(test.metadata.conflicts) for test in tests}
    for test in tests:
        for other in test.metadata.conflicts:
            conflicts.setdefault(other, set()).add(test.name)
    buckets: list[_Bucket] = []
    for test in sorted(tests, key=lambda test: test.name):
        for bucket in buckets:
            if not conflicts[test.name].isdisjoint(bucket.names):
                continue
            together = _together(bucket.merged, test.config)
            if together is not None or (bucket.merged is None and test.config is None):
                bucket.merged = together
                break
        else:
            bucket = _Bucket(merged=test.config)
            buckets.append(bucket)
        bucket.tests.append(test)
        bucket.names.add(test.name)
    return {
        test.name: test if len(bucket.tests) == 1 else test.in_bucket(number, bucket.merged)
        for bucket in buckets
        for number, test in enumerate(bucket.tests, 1)
    }


def _together(one: ignition.Config | None, other: ignition.Config | None) -> ignition.Config | None:
    """Return two configs merged, if it is the same in both orders: then neither takes anything from the other."""
    if one is None or other is None:
        return one or other
    try:
        merged, reverse = ignition.merge(one, other), ignition.merge(other, one)
    except ConfigError:  # each is right, both together are not
        return None
    return merged if _unordered(merged.tree) == _unordered(reverse.tree) else None


def _unordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unordered(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((_unordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value
