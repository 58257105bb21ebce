"""What can go wrong, told apart by who has to act on it.

A failed test is the operating system's fault, a lost machine is shown with its last words, a platform error is the
provider's, a configuration error is the caller's. None of them is ever reported as another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class KolaError(Exception):
    """Every error that kola raises on purpose."""


class ConfigError(KolaError):
    """Bad input: an option, a marker, a config, an image. One line that names the allowed values.

    Of one that quotes endless input the middle is left out; what does not print is shown as an escape.
    """

    LONGEST = 2000
    """Characters."""

    def __init__(self, message: str = "") -> None:
        message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
        half = self.LONGEST // 2 - 5
        super().__init__(message if len(message) <= self.LONGEST else f"{message[:half]} [...] {message[-half:]}")


class PlatformError(KolaError):
    """The provider failed: nothing can be said about the operating system (outcome ``provider-error``)."""


@dataclass(frozen=True)
class Loss:
    """Why a machine is of no more use.

    Attributes:
        kind: one of ``ignition``, ``panic``, ``emergency``, ``exit``, ``no-boot``, ``timeout``, ``ssh``, or
            ``provider`` if what runs the machine failed under it.
        summary: one line for a person, such as ``kernel panic: sysrq triggered crash``.
        detail: the log lines that say so, oldest first.
    """

    kind: str
    summary: str
    detail: tuple[str, ...] = ()


class MachineLost(KolaError):
    """The machine died or never came up; it carries the reason and the lines of the log that show it."""

    def __init__(
        self, machine: str, loss: Loss, *, elapsed: float | None = None, artifacts: Path | None = None
    ) -> None:
        self.machine = machine
        self.loss = loss
        self.elapsed = elapsed
        after = "" if elapsed is None else f" after {elapsed:.0f} s"
        lines = [f"machine {machine} lost{after}: {loss.summary}"]
        lines += [f"    | {line}" for line in loss.detail]
        if artifacts is not None:
            lines.append(f"    console and journal: {artifacts}")
        super().__init__("\n".join(lines))


class ProviderLost(MachineLost, PlatformError):
    """The machine died of what runs it, such as a QEMU that crashed: that says nothing about the operating system."""


def machine_lost(
    machine: str, loss: Loss, *, elapsed: float | None = None, artifacts: Path | None = None
) -> MachineLost:
    """Return the error for a loss, by whose fault it is."""
    kind = ProviderLost if loss.kind == "provider" else MachineLost
    return kind(machine, loss, elapsed=elapsed, artifacts=artifacts)


class CommandFailed(KolaError):
    """A command on a machine ended with a non-zero exit code; the text shows both streams."""


class CommandTimeout(KolaError):
    """A command on a machine did not end in time (not the same as failing)."""


class WaitTimeout(KolaError):
    """A condition did not come true before its deadline."""


class CheckFailed(KolaError):
    """The machine's console, journal, audit log or units show something that must not be there."""


class ExternalTestFailed(KolaError):
    """A test that runs on the machine itself failed; the text shows the end of what it wrote."""
