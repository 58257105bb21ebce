"""What is run for a fault, and whether what was run before still holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.imports import with_imports
from trust.faults import Kind, digest_of
from trust.observation import EXTERNAL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from trust.faults import Fault

SMOKE = (
    "basic/test_filesystems.py::test_usr_is_read_only",
    "basic/test_filesystems.py::test_boot_has_the_entry_that_booted",
    "basic/test_health.py::test_boot_completed_without_failed_units",
    "basic/test_health.py::test_identity_of_the_system",
    "basic/test_health.py::test_clock",
    "basic/test_ignition_files.py::test_contents_are_exact",
    "basic/test_ignition_files.py::test_hostname",
    "basic/test_journal.py::test_message_reaches_the_host",
    "basic/test_journal.py::test_audit_records_reach_the_journal",
    "basic/test_network.py::test_default_route_and_its_gateway",
    "basic/test_network.py::test_names_are_resolved",
    "basic/test_permissions.py::test_shadow_files",
    "basic/test_podman.py::test_podman_info[root]",
    "basic/test_selinux.py::test_mode_is_the_configured_one",
    "basic/test_selinux.py::test_processes_run_in_their_domains",
    "basic/test_ssh.py::test_passwords_are_refused",
    "basic/test_ssh.py::test_core_has_sudo_without_a_password",
    "basic/test_units.py::test_enabled_unit_ran_once",
    "basic/test_units.py::test_masked_unit",
    "basic/test_users.py::test_password_hash_and_locked_passwords",
)
"""Run for every fault: a little of everything, on one machine, a clone. Chosen for that, before the first run."""
CHECKS = "kola/checks"
"""What is searched for after every test: part of what finds faults."""


@dataclass(frozen=True)
class Key:
    """What a result holds for: the fault, the tests that were run with all that they share, and the checks.

    Attributes:
        fault: digest of the definition; empty for a clean run.
        suites: digest of the tests.
    """

    fault: str
    suites: str


def selection(fault: Fault) -> tuple[str, ...]:
    """Return what pytest is to run: the fault's files, and of the smoke set what is in none of them."""
    rest = (test for test in SMOKE if test.partition("::")[0] not in fault.suites)
    return tuple(EXTERNAL + name for name in (*fault.suites, *rest))


def suites(root: Path) -> tuple[str, ...]:
    """Return the names of all suites: a clean run of everything is one of each."""
    return tuple(sorted(path.parent.name for path in (root / EXTERNAL).glob("*/__init__.py")))


def clean_selection(suite: str) -> tuple[str, ...]:
    """Return what pytest is to run for a clean run of a suite; of the smoke set if that is empty."""
    return (EXTERNAL + suite,) if suite else tuple(EXTERNAL + name for name in SMOKE)


def clean_key(suite: str, root: Path) -> Key:
    """Return what a clean run of a suite, or of the smoke set, holds for now."""
    return Key("", suites_digest(root, clean_selection(suite)))


def key_of(fault: Fault, root: Path) -> Key:
    """Return what a result for this fault holds for now.

    Args:
        fault: its definition.
        root: of the checkout.
    """
    return Key(fault.digest(), suites_digest(root, selection(fault)))


def suites_digest(root: Path, arguments: Iterable[str]) -> str:
    """Digest of what pytest's arguments name, with what its files share, and of the checks."""
    return digest_of(sorted({*_sources(root, arguments), *(root / CHECKS).rglob("*.py")}))


def _sources(root: Path, arguments: Iterable[str]) -> set[Path]:
    found: set[Path] = set()
    for argument in arguments:
        path = root / argument.partition("::")[0]
        if path.is_dir():
            found.update(file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc")
        else:
            found.add(path)
            found.update(_shared(path.parent))
        found.update(_shared(root / EXTERNAL))
    return with_imports(root, found)


def _shared(folder: Path) -> Iterable[Path]:
    """What the tests of a folder import or read: all that is no test itself."""
    return (
        file
        for file in folder.iterdir()
        if file.is_file() and file.suffix != ".pyc" and not file.name.startswith("test_")
    )


def order(faults: Iterable[Fault]) -> list[Fault]:
    """The quick ones first: live ones, then those that need an image; in each, those without updates first."""

    def cost(fault: Fault) -> tuple[bool, bool, str]:
        updates = any(suite.startswith("upgrade/") for suite in fault.suites)
        return fault.kind is Kind.IMAGE, updates, fault.name

    return sorted(faults, key=cost)
