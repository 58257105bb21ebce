"""What every collected test gets before it runs: its needs, its time limit, the reason why it is skipped."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kola import checks, fixtures, ignition
from kola.collect import Target
from kola.errors import ConfigError
from kola.external.denylist import SKIP_CONSOLE_WARNINGS
from kola.fixtures import NEEDS
from kola.ignition_validate import validate_with_tool
from kola.needs import UPDATES, memory_mib, parse_needs
from kola.platform import load_platform, platform_names
from kola.selection import skip_reason

if TYPE_CHECKING:
    from kola.external.denylist import Denylist
    from kola.needs import Needs
    from kola.options import Settings
    from kola.run import RunInfo


def target_of(settings: Settings, info: RunInfo | None) -> Target:
    """Return what tests are collected for: what is booted, or what is known of that when nothing is."""
    image = info.image if info is not None else None
    return Target(
        settings.platform or "",
        settings.arch.name,
        settings.distro or (image.distro if image else ""),
        platform_independent=settings.platform_independent,
        container=image.container if image else "",
    )


def prepare(item: pytest.Item, settings: Settings, info: RunInfo | None, denylist: Denylist) -> None:
    """Read what a test needs, and skip it with its reason if it cannot run here; one without needs is left alone.

    Raises:
        ConfigError: its marker is wrong, or it needs more than there is.
    """
    needs = _needs_of(item)
    if needs is None:
        return
    if needs.ignition is not None:
        validate_with_tool(ignition.serialise(needs.ignition), needs.ignition.source)
    if denylist.console_warnings_pass:
        every_rule = dict.fromkeys(checks.RULES, f"denylist: {SKIP_CONSOLE_WARNINGS}")
        needs = replace(needs, skip_checks={**every_rule, **needs.skip_checks})
    item.stash[NEEDS] = needs
    if info is None:
        if settings.platform is None:
            names = ", ".join(platform_names())
            item.add_marker(pytest.mark.skip(reason=f"needs a machine: give --platform=NAME ({names})"))
        return
    if info.from_image is not None and UPDATES in needs.needs:
        item.stash[NEEDS] = needs = replace(needs, from_image=True)
    item.add_marker(pytest.mark.timeout(needs.timeout * info.prepared.slowness, func_only=True))
    reason = skip_reason(
        needs,
        platform=info.platform,
        arch=info.arch,
        capabilities=load_platform(info.platform).capabilities,
        image=info.for_updates().image if needs.from_image else info.image,
        lacks=info.prepared.lacks,
        fixtures=fixtures.capabilities(fixtures.used_by(item)),
        platform_independent=settings.platform_independent,
    )
    if reason:
        item.add_marker(pytest.mark.skip(reason=reason))
    elif (wanted := memory_mib(needs)) > info.budget_mib:
        raise ConfigError(
            f"needs {wanted} MiB for {needs.machines} machine(s), more than the whole budget of "
            f"{info.budget_mib} MiB (--memory-budget)"
        )


def _needs_of(item: pytest.Item) -> Needs | None:
    if NEEDS in item.stash:  # an external test's
        return item.stash[NEEDS]
    marks = list(item.iter_markers("kola"))
    if not marks and not fixtures.used_by(item):
        return None
    if any(mark.args for mark in marks):
        raise ConfigError("only keyword arguments are allowed")
    kwargs: dict[str, Any] = {}
    for mark in reversed(marks):
        kwargs.update(mark.kwargs)
    kwargs.setdefault("description", first_line(getattr(item, "obj", None)))
    return parse_needs(kwargs, folder=item.path.parent, rules=frozenset(checks.RULES))


def first_line(function: object) -> str:
    """Return the first line of a docstring."""
    return next(iter((inspect.getdoc(function) or "").splitlines()), "") if function is not None else ""
