"""How long Hypothesis looks: the same few examples in every run, others and many with ``--hypothesis-profile=nightly``.

Nothing is left behind: no database, and what Hypothesis keeps of Unicode and of constants goes with the session.
"""

from __future__ import annotations

import tempfile

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

_FOLDER = tempfile.TemporaryDirectory(prefix="kola-hypothesis-")
set_hypothesis_home_dir(_FOLDER.name)

settings.register_profile(
    "kola",
    derandomize=True,
    database=None,
    deadline=None,  # other work on the host is no failure
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "nightly", settings.get_profile("kola"), derandomize=False, max_examples=1000, print_blob=True
)
settings.load_profile("kola")


def pytest_unconfigure() -> None:
    """Remove it at the end of xdist's workers, too, which end without Python's own clean-up."""
    _FOLDER.cleanup()
