"""Numbers on the command line."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from kola.options import settings_of
from kola.optionvalues import clone_limits, memory_budget
from tests.unit.properties.inputs import TEXT, value_or_refusal

NUMERALS = TEXT | st.text("0123456789.-+e%_ \u0663", max_size=12) | st.integers().map(str) | st.floats().map(str)


@given(NUMERALS)
@example("9" * 5000)
@example("inf")
@example("1e308")
@example("\u0663")
def test_any_number_is_taken_or_refused(text: str) -> None:
    budget = value_or_refusal(lambda: memory_budget(text), "--memory-budget '")
    assert budget is None or budget > 0
    limits = value_or_refusal(lambda: clone_limits(text), "--clone-cache '")
    assert limits is None or limits.size_mib >= 0
    values = {"kola_multiply": text, "kola_cache": tempfile.gettempdir()}
    settings = value_or_refusal(lambda: settings_of(values, Path("/")), "--multiply '")
    assert settings is None or settings.multiply == int(text)
