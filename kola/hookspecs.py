"""The hooks that kola calls: what other plugins, and a ``conftest.py``, may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kola.machine import Machine


def pytest_kola_machine_up(machine: Machine) -> None:
    """A machine is up and SSH answers: called before the first test sees it, whether it was booted or cloned.

    Called once for a machine, in the process whose test gets it; again for the next test of a shared machine only if
    it raised. What it raises is the test's error, and a ``kola.errors.PlatformError`` is the provider's: nothing is
    known of the operating system then. What it leaves in the machine's logs is held against the first test.

    Args:
        machine: commands can be run on it.
    """
