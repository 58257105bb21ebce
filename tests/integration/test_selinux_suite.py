"""The SELinux suite is worth something: what is wrong on a machine is found and named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.broken.selinux_suite import FAULTS
from tests.integration.conftest import ROOT, InnerRun, needs_testos


@needs_testos
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_fault_is_named(kola_pytest: Callable[..., InnerRun]) -> None:
    run = kola_pytest(ROOT / "tests/integration/broken/selinux_suite.py")
    assert run.wait(1400) == 0, run.output
    assert [test["outcome"] for test in run.results["tests"]] == ["passed"] * len(FAULTS)
