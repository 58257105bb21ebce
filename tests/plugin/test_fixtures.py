"""The fixtures for services, in runs of the plugin on a platform that boots nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HOSTING = """
    from typing import ClassVar

    from kola.spec import Capability
    from tests.simulation.platform import Simulated

    class Hosting(Simulated):
        capabilities = Simulated.capabilities | {Capability.HOST_SERVICES}
        host_address = "192.0.2.7"
"""


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, test: str, platform: str) -> pytest.RunResult:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{pytester.path}")
    pytester.makepyfile(hosting=HOSTING)
    pytester.makepyfile(test)
    image = pytester.path / "image.raw"
    image.write_bytes(b"\0" * 510 + b"\x55\xaa")
    return pytester.runpytest_subprocess(
        "-p", "no:xdist", "-p", "no:cacheprovider", "-rs", f"--platform={platform}", f"--image={image}",
        f"--kola-cache={pytester.path / 'cache'}", "-P", "slowness=3",
    )  # fmt: skip


def test_servers_that_guests_reach_under_the_platforms_address(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(
        pytester,
        monkeypatch,
        """
        from urllib.request import urlopen

        def test_it(http_server, https_server, registry, update_server, fleet_lock):
            http_server.add("/x", b"content")
            assert http_server.url("/x") == f"http://192.0.2.7:{http_server.port}/x"
            assert urlopen(http_server.local_url("/x")).read() == b"content"
            assert http_server.slowness == 3
            assert https_server.url("/x") == f"https://192.0.2.7:{https_server.port}/x"
            assert https_server.authority.pem.startswith("-----BEGIN CERTIFICATE")
            assert not http_server.requests("/y")
            assert update_server.base_url == f"http://192.0.2.7:{update_server.server.port}"
            assert fleet_lock.base_url == f"http://192.0.2.7:{fleet_lock.server.port}"
            assert registry.reference("app:v1") == f"192.0.2.7:{registry.server.port}/app:v1"
            assert urlopen(registry.server.local_url("/v2/")).read() == b"{}"
    """,
        "hosting:Hosting",
    )
    result.assert_outcomes(passed=1)


def test_where_guests_do_not_reach_this_host_such_tests_are_skipped(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = "def test_it(http_server): pass"
    result = run(pytester, monkeypatch, test, "tests.simulation.platform:Simulated")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*platform tests.simulation.platform:Simulated lacks host-services"])


def test_a_fixture_of_the_users_own_is_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def http_server():
            return "mine"

        def test_it(http_server):
            assert http_server == "mine"
    """)
    pytester.runpytest_subprocess("-p", "no:xdist", "-p", "no:cacheprovider").assert_outcomes(passed=1)
