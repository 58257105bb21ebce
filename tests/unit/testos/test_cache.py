import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest
from builder.cache import KEEP_STAGES, Cache
from builder.output import Output


def test_what_remains_of_a_removal_that_was_cut_short_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    for age in range(KEEP_STAGES + 1):
        folder = cache.stages / f"commit-{age}"
        (folder / "repo").mkdir(parents=True)
        os.utime(folder, (1000 - age, 1000 - age))

    def killed(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.prune(Output(tmp_path / "log"), keep=set())
    assert sorted(path.name for path in cache.stages.iterdir()) == [f"commit-{age}" for age in range(KEEP_STAGES)]
    cache.clean_scratch()
    assert not cache.scratch.exists()
