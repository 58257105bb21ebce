"""Running tests again, and warnings, as a user sees them; without machines, which change nothing about it."""

from __future__ import annotations

import pytest

from kola.rerun import rates
from kola.results import Outcome, TestRecord

ARGUMENTS = ("-p", "no:cacheprovider", "-rA")
ONCE = """
    from pathlib import Path

    import pytest

    @pytest.fixture
    def resource():
        with Path("setups").open("a") as file:
            file.write("x")
        yield "fresh"

    def test_good(resource):
        assert resource == "fresh"

    def test_flaky(resource):
        try:
            Path("tried").touch(exist_ok=False)
        except FileExistsError:
            return
        raise ValueError("only the first time")

    def test_bad(resource):
        raise ValueError("every time")
"""


@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_rerun(pytester: pytest.Pytester, workers: list[str]) -> None:
    pytester.makepyfile(ONCE)
    result = pytester.runpytest_subprocess(*ARGUMENTS, *workers, "--rerun-failed")
    assert result.parseoutcomes() == {"failed": 1, "passed": 1, "flaky": 1}
    assert result.ret == 1
    # Twice for both that failed.
    assert (pytester.path / "setups").read_text() == "xxxxx"
    assert result.stdout.str().count("every time") >= 2


def test_flaky_alone_is_no_failure(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=ONCE)
    result = pytester.runpytest_subprocess(*ARGUMENTS, "--rerun-failed", "-v", "-k", "not bad")
    assert (result.ret, result.parseoutcomes()) == (0, {"passed": 1, "flaky": 1, "deselected": 1})
    result.stdout.fnmatch_lines(["*::test_flaky FLAKY*"])


@pytest.mark.parametrize("then", ["pytest.skip('it was there')", "pytest.xfail('it was there')"])
@pytest.mark.parametrize("where", ["there", "test_it"])
def test_what_is_skipped_then_has_failed(pytester: pytest.Pytester, then: str, where: str) -> None:
    """A skip is no pass: otherwise a failure could go away without a trace."""
    bodies = {name: then if name == where else "pass" for name in ("there", "test_it")}
    pytester.makepyfile(f"""
        from pathlib import Path

        import pytest

        @pytest.fixture
        def there():
            if Path("tried").exists():
                {bodies["there"]}

        def test_it(there):
            if Path("tried").exists():
                {bodies["test_it"]}
            Path("tried").touch()
            raise ValueError("the first time")
    """)
    result = pytester.runpytest_subprocess(*ARGUMENTS, "--rerun-failed")
    assert (result.ret, result.parseoutcomes()) == (1, {"failed": 1})
    result.stdout.fnmatch_lines(["*ValueError: the first time*"])


def test_without_the_option_nothing_runs_twice(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ONCE)
    result = pytester.runpytest_subprocess(*ARGUMENTS)
    assert result.parseoutcomes() == {"failed": 2, "passed": 1}
    assert (pytester.path / "setups").read_text() == "xxx"


def test_multiply(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        def test_plain(): pass

        @pytest.mark.parametrize("value", ["a", "b"])
        def test_parameters(value): pass
    """)
    result = pytester.runpytest_subprocess(*ARGUMENTS, "--multiply", "3", "--collect-only", "-q")
    names = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert names == [
        *(f"test_plain[run{n}]" for n in range(3)),
        *(f"test_parameters[{value}-run{n}]" for value in "ab" for n in range(3)),
    ]
    pytester.runpytest_subprocess(*ARGUMENTS, "--multiply", "3").assert_outcomes(passed=9)


def test_multiply_external(pytester: pytest.Pytester) -> None:
    """As kola numbers them."""
    test = pytester.mkdir("project").joinpath("tests", "kola", "one")
    test.parent.mkdir(parents=True)
    test.write_text("#!/bin/sh\n")
    test.chmod(0o755)
    arguments = ("-E", "project", "--multiply", "2", "--collect-only", "-q", "--test", "ext.project.*")
    result = pytester.runpytest_subprocess(*ARGUMENTS, *arguments)
    result.stdout.fnmatch_lines(["*::ext.project.one0", "*::ext.project.one1"])


@pytest.mark.parametrize("times", ["0", "-1", "x"])
def test_multiply_wrongly(pytester: pytest.Pytester, times: str) -> None:
    result = pytester.runpytest_subprocess(*ARGUMENTS, f"--multiply={times}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --multiply '{times}': expected a number from 1 on"])


def test_rates() -> None:
    tests = [
        TestRecord("t::good0", Outcome.PASSED, attempt="t::good"),
        TestRecord("t::good1", Outcome.PASSED, attempt="t::good"),
        TestRecord("t::bad0", Outcome.PASSED, attempt="t::bad"),
        TestRecord("t::bad1", Outcome.FAILED, attempt="t::bad"),
        TestRecord("t::bad2", Outcome.FLAKY, attempt="t::bad"),
        TestRecord("t::out0", Outcome.SKIPPED, attempt="t::out"),
        TestRecord("t::once", Outcome.FAILED),
    ]
    assert rates(tests) == ["1 of 3 passed: t::bad", "2 of 2 passed: t::good"]


def test_warned(pytester: pytest.Pytester) -> None:
    """The denylist holds for every test by its name."""
    pytester.makepyfile("""
        def test_warns(): raise ValueError("known bug")
        def test_fine(): pass
        def test_left_out(): raise ValueError
    """)
    denylist = "- pattern: test_w*\n  warn: true\n  tracker: https://example.com/1\n- pattern: test_left_out\n"
    pytester.makefile(".yaml", deny=denylist)
    result = pytester.runpytest_subprocess(*ARGUMENTS, "-v", "--denylist", "deny.yaml")
    assert (result.ret, result.parseoutcomes()) == (0, {"passed": 1, "skipped": 1, "warned": 1})
    result.stdout.fnmatch_lines(["*::test_warns WARNED*", "*skipped by the denylist: test_left_out*"])


def test_explained(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.kola(tags=["a"])
        def test_one(machine): pass
        def test_two(): pass
        def test_three(): pass
    """)
    result = pytester.runpytest_subprocess(*ARGUMENTS, "--collect-only", "-v", "--test", "test_t*", "--tag", "!a",
                                           "--denylist-test", "test_three")  # fmt: skip
    result.stdout.fnmatch_lines(
        ["not selected: test_one: --tag !a", "not selected: test_three: --denylist-test test_three"]
    )
    assert "Function test_two" in result.stdout.str()


def test_external_that_is_skipped(pytester: pytest.Pytester) -> None:
    """Without a platform, and by the denylist of its project."""
    project = pytester.mkdir("project")
    tests = project / "tests" / "kola"
    tests.mkdir(parents=True)
    for name in ("one", "two"):
        (tests / name).write_text("#!/bin/sh\n")
        (tests / name).chmod(0o755)
    (project / "kola-denylist.yaml").write_text("- pattern: ext.project.one\n  tracker: https://example.com/1\n")
    result = pytester.runpytest_subprocess(*ARGUMENTS, "-v", "-E", "project")
    assert (result.ret, result.parseoutcomes()) == (0, {"skipped": 2})
    result.stdout.fnmatch_lines(["*skipped by the denylist: ext.project.one (https://example.com/1)*"])
    result.stdout.fnmatch_lines(["*needs a machine: give --platform=NAME (*qemu)*"])
