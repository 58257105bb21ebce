"""The translator against the real Butane, built here by Go: what was written down still holds, and new seeds."""

from __future__ import annotations

import pytest

from tests.unit.butane import oracle
from tests.unit.butane.configs import FILES
from tests.unit.butane.verdict import difference

pytestmark = pytest.mark.skipif(not oracle.have_go(), reason="no Go toolchain")


def test_recorded_answers_are_those_of_butane() -> None:
    recorded = oracle.recorded()
    now = oracle.ask({answer.name: answer.config for answer in recorded})
    for then, answer in zip(recorded, now, strict=True):
        assert answer.ignition == then.ignition, answer.name
        assert answer.warnings.replace(str(FILES), "FILES") == then.warnings, answer.name


def test_configs_that_nobody_has_seen() -> None:
    answers = oracle.ask(oracle.generated(10_000, 1000))
    assert not [found for answer in answers if (found := difference(answer))]
