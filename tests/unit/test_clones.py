"""What becomes a saved machine of everybody, and what does not; without a machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kola import clones, health
from kola.checks import Finding
from kola.clonecache import CloneCache, Limits
from kola.clones import CONFIG, Clones
from kola.keys import KeyPair

WARNED = Finding("kernel-warning", "console", "WARNING: CPU: 0 PID: 1 at fs/simulated.c:1")


@pytest.mark.parametrize("findings", [[], [WARNED]])
def test_a_machine_that_shows_anything_is_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, findings: list[Finding]
) -> None:
    """Whatever the test that it was booted for excuses: others with the same machine do not."""
    monkeypatch.setattr(health, "examine", lambda _machine: health.Examination(findings, health.BOOT))
    monkeypatch.setattr(clones, "settle", lambda _machine: None)
    (tmp_path / CONFIG).write_text("{}")
    cache = CloneCache(tmp_path / "clones", Limits(), lambda _line: None)
    info: Any = SimpleNamespace(platform="some", image=SimpleNamespace(reference="image", sha256="0" * 64))
    platform: Any = SimpleNamespace(save=lambda _instance, folder: (folder / "state").touch())
    spec = SimpleNamespace(memory_mib=1)
    machine: Any = SimpleNamespace(name="m", spec=spec, instance=None, artifacts=tmp_path, close=lambda: None)
    access: Any = SimpleNamespace(client_key=KeyPair("secret", "public"), host_key="ssh-ed25519 AAAA")
    said: list[str] = []
    golden = Clones(info, platform, cache, access, lambda _name, what: said.append(what))
    with cache.claim("key", lambda _elapsed: None) as claim:
        assert golden.save(claim, machine, access) is not bool(findings)
    assert cache.peek("key") is not bool(findings)
    assert said == [f"not saved for later tests: {finding}" for finding in findings]
