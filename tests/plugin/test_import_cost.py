"""What a pytest process that boots nothing loads: every project whose environment has kola pays for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = frozenset(
    {
        # Libraries for machines, their images, the workers of a run.
        *("boto3", "cryptography", "libvirt", "paramiko", "xdist"),
        # Of the standard library what serves, fetches and encrypts.
        *("asyncio", "http.client", "http.server", "socketserver", "ssl", "urllib.request"),
        # kola's own that need them, or are of no use without a machine.
        *("kola.flight", "kola.hooks", "kola.machine", "kola.run", "kola.scheduler", "kola.services", "platforms.qemu"),
    }
)
SHOW = "import sys; print(*sorted(sys.modules))"
LOADED = """
    import sys

    def pytest_sessionfinish():
        print("LOADED", *sorted(sys.modules))
"""
TESTS = """
    import pytest

    @pytest.mark.kola(isolation="shared", needs=["podman"])
    def test_machine(machine): pass

    def test_service(registry, https_server): pass

    def test_plain(): pass
"""


def loaded_by(*statements: str) -> set[str]:
    command = [sys.executable, "-c", "; ".join([*statements, SHOW])]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_the_plugin_loads_nothing_that_only_machines_need() -> None:
    loaded = loaded_by("import kola.plugin, kola.fixtures")
    assert {"kola.collect", "kola.options", "pytest"} <= loaded
    assert loaded & HEAVY == set()


def test_what_is_heavy_is_loaded_for_machines() -> None:
    """The names above are right: a list with names of nothing would forbid nothing."""
    sdk = {"boto3", "libvirt"}
    assert HEAVY - sdk <= loaded_by("import kola.hooks, kola.services, importlib, platforms.qemu", "import asyncio")


@pytest.mark.parametrize("arguments", [["--collect-only"], []], ids=["collected", "run"])
def test_neither_does_a_session_without_a_platform(pytester: pytest.Pytester, arguments: list[str]) -> None:
    pytester.makeconftest(LOADED)
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:xdist", "-p", "no:xdist.looponfail", "-s", *arguments)
    assert result.ret == 0
    line = next(line for line in result.outlines if "LOADED" in line)
    loaded = set(line.split())
    assert "kola.plugin" in loaded
    assert loaded & HEAVY == set()
