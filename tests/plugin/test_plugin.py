"""The plugin's hooks without a machine; with machines: tests/integration."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kola.runs import list_runs

ARGUMENTS = ("-p", "no:xdist", "-p", "no:cacheprovider", "-rs")


def test_a_fixture_of_the_users_own_named_machine_is_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def machine():
            return "mine"

        def test_it(machine):
            assert machine == "mine"
    """)
    pytester.runpytest_subprocess(*ARGUMENTS).assert_outcomes(passed=1)


def test_without_a_platform_machine_tests_are_skipped(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(machines): pass")
    result = pytester.runpytest_subprocess(*ARGUMENTS)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*needs a machine: give --platform=NAME (*qemu)"])


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--platform=", "--platform '': expected NAME"),
        ("--image=", "--image '': expected IMAGE"),
        ("-E=", "-E '': exp*"),
    ],
)
def test_an_option_that_is_given_has_a_value(pytester: pytest.Pytester, option: str, says: str) -> None:
    """An unset variable must not mean that nothing is tested. In the ini file it means that there is none."""
    pytester.makeini("[pytest]\nkola_platform =\nkola_external =\n")
    pytester.makepyfile("def test_it(): pass")
    assert pytester.runpytest_inprocess(*ARGUMENTS).ret == 0
    result = pytester.runpytest_subprocess(*ARGUMENTS, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {says}"])


def test_a_wrong_switch_in_the_ini_file_is_named(pytester: pytest.Pytester) -> None:
    ini = pytester.makeini("[pytest]\nkola_no_clone = maybe\n")
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess(*ARGUMENTS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {ini}: kola_no_clone: invalid truth value 'maybe'; expected true or false"])


def test_without_an_image_the_ini_file_is_named(pytester: pytest.Pytester) -> None:
    """It may be another one than the user thinks: pytest takes the value behind '--option VALUE' for a test, too."""
    ini = pytester.makeini("[pytest]\n")
    result = pytester.runpytest_subprocess(*ARGUMENTS, "--platform=tests.simulation.platform:Simulated")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: no image: give --image (pytest: or kola_image in {ini}): testos*"])


def test_a_bad_marker_is_an_error_without_a_platform_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.kola(machines=0)
        def test_it(machines): pass
    """)
    result = pytester.runpytest_subprocess(*ARGUMENTS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *::test_it: @pytest.mark.kola: machines=0: at least 1"])


def test_the_closest_marker_wins_key_by_key(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        pytestmark = pytest.mark.kola(memory_mib=1, platforms=["nowhere"])

        @pytest.mark.kola(memory_mib=512)
        def test_it(machine): pass
    """)
    pytester.runpytest_subprocess(*ARGUMENTS).assert_outcomes(skipped=1)


def test_collecting_alone_boots_nothing_and_needs_no_image(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(machine): pass")
    result = pytester.runpytest_subprocess(*ARGUMENTS, "--platform=qemu", "--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*::test_it"])
    assert not (pytester.path / "kola-runs").exists()


def test_a_file_that_cannot_be_collected_is_an_error_and_no_traceback_of_kola(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("this is no Python")
    result = pytester.runpytest_subprocess(*ARGUMENTS, "--platform=qemu", "--collect-only", "-ra")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["ERROR test_a_file_that_cannot_be_collected_is_an_error_and_no_traceback_of_kola.py*"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert "Traceback" not in result.stderr.str()


@pytest.mark.parametrize(("options", "reason"), [((), "run on qemu only"), (("--run-platform-independent",), None)])
def test_external_tests_that_are_independent_of_the_platform(
    pytester: pytest.Pytester, options: tuple[str, ...], reason: str | None
) -> None:
    test = pytester.mkdir("project").joinpath("tests/kola/independent")
    test.parent.mkdir(parents=True)
    test.write_text('#!/bin/bash\n## kola:\n##   tags: "platform-independent"\ntrue\n')
    test.chmod(0o755)
    arguments = ("-E", "project", "--collect-only", "--platform=tests.simulation.platform:Simulated", *options)
    (item,), _ = pytester.inline_genitems(*ARGUMENTS, *arguments)
    skip = item.get_closest_marker("skip")
    assert skip is None if reason is None else skip is not None and reason in skip.kwargs["reason"]


IMAGE = b"\0" * 510 + b"\x55\xaa"
SIMULATED = "--platform=tests.simulation.platform:Simulated"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "ERROR: file or directory not found: nowhere"),
        (["-k", "("], "ERROR: Wrong expression passed to '-k': (: *"),
    ],
)
def test_what_workers_cannot_collect_is_said(pytester: pytest.Pytester, arguments: list[str], says: str) -> None:
    pytester.makepyfile(test_it="def test_it(): pass")
    (pytester.path / "image.raw").write_bytes(IMAGE)
    always = ("-p", "no:cacheprovider", "-n", "1", SIMULATED, "--image=image.raw", "--kola-cache=cache")
    result = pytester.runpytest_subprocess(*always, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([says])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_what_the_user_has_to_change_is_said_also_if_the_sweep_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is on a cloud without credentials; once there are some, ``kola gc`` removes what was left."""
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[2]}:{pytester.path}")
    pytester.makepyfile(
        closed="""
        import os

        from kola.errors import ConfigError, PlatformError
        from tests.simulation.platform import Simulated

        class Closed(Simulated):
            def prepare(self, image):
                raise ConfigError("no credentials")

            def sweep(self, scope):
                if "CREDENTIALS" not in os.environ:
                    raise PlatformError("find: no credentials")
                return super().sweep(scope)
        """
    )
    (pytester.path / "image.raw").write_bytes(IMAGE)
    result = pytester.runpytest_subprocess(
        *ARGUMENTS, "--platform=closed:Closed", "--image=image.raw", "--kola-cache=cache"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.errlines == ["ERROR: no credentials", ""]
    assert list((pytester.path / "kola-runs").iterdir()) == [], (
        "nothing was run: no folder of it, and latest is another's"
    )

    [run] = list_runs(pytester.path / "cache")
    assert run.scratch.exists()
    monkeypatch.setenv("CREDENTIALS", "yes")
    assert pytester.run(sys.executable, "-m", "kola", "gc", "--kola-cache=cache").ret == 0
    assert not run.scratch.exists()
    assert list_runs(pytester.path / "cache") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- pattern: [", "ERROR: *deny.yaml: line 2, column *: not YAML: *"),
        ("- pattern: x\n  nope: 1", "ERROR: *deny.yaml: *nope: unknown key*"),
        ("- tracker: x", "ERROR: *deny.yaml: *pattern: required, but missing"),
    ],
)
def test_a_bad_denylist_is_a_usage_error(pytester: pytest.Pytester, text: str, says: str) -> None:
    pytester.makepyfile("def test_it(): pass")
    (pytester.path / "deny.yaml").write_text(text)
    result = pytester.runpytest_subprocess(*ARGUMENTS, "--denylist=deny.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([says])
    assert not result.stdout.lines


def test_a_bad_denylist_of_a_project_is_one_too(pytester: pytest.Pytester) -> None:
    project = pytester.mkdir("project")
    (project / "tests/kola").mkdir(parents=True)
    (project / "kola-denylist.yaml").write_text("x")
    result = pytester.runpytest_subprocess(*ARGUMENTS, "-E", "project")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *kola-denylist.yaml: line 1: expected a list of entries, found 'x'"])
