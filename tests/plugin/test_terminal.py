from __future__ import annotations

import pytest


def test_a_failure_shows_the_line_of_the_test_and_no_frame_of_kola(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        from kola.wait import wait_until

        def test_it():
            wait_until(lambda: False, 0, what="nothing")
    """)
    result = pytester.runpytest_subprocess("-p", "no:xdist", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(
        [">       wait_until(lambda: False, 0, what=*", "E       kola.errors.WaitTimeout: timed out after 0 s*"]
    )
    result.stdout.no_fnmatch_line("*def wait_until*")
    result.stdout.no_fnmatch_line("*wait.py*")
