"""What a QEMU machine can be made of beside the plain: firmware, a TPM, folders of this host."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kola.arch import host_arch
from kola.errors import ConfigError, PlatformError
from kola.platform import Prepared, Scope
from kola.spec import Bind
from kola.wait import wait_until
from platforms.qemu import firmware, helpers, tpm, virtiofs
from platforms.qemu.driver import Qemu
from platforms.qemu.tags import Tags
from tests.integration.conftest import InnerRun, needs_testos
from tests.integration.qemu_guests import CONFIG, OWNER, RUN, SMALL

pytestmark = pytest.mark.skipif(host_arch().name != "x86_64", reason="the guests here are x86_64 code")
needs_virtiofsd = pytest.mark.skipif(virtiofs.find() is None, reason=virtiofs.MISSING)
needs_swtpm = pytest.mark.skipif(tpm.find() is None, reason=tpm.MISSING)
Start = Callable[..., InnerRun]


def beside(folder: Path) -> list[str]:
    """Return the programs that run beside machines in a folder."""
    return sorted(
        process.info["name"]
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] in {"swtpm", "virtiofsd"} and str(folder) in " ".join(process.info["cmdline"] or ())
    )


@pytest.mark.parametrize("wanted", [firmware.SECURE, pytest.param(firmware.UEFI, marks=pytest.mark.slow)])
def test_uefi_starts_and_goes_on_in_a_clone(qemu: Qemu, idle: Prepared, folder: Path, wanted: str) -> None:
    if firmware.find(wanted, host_arch()) is None:
        pytest.skip(firmware.MISSING)
    spec = dataclasses.replace(SMALL, firmware=wanted)
    saved = folder / f"saved-{wanted}"
    saved.mkdir()
    with qemu.launch(spec, CONFIG, f"kola-{RUN}-main-{wanted}", idle) as machine:
        wait_until(lambda: "BdsDxe: " in machine.console(), 120)  # there is nothing that it could start
        assert machine.lost() is None
        machine.save(saved)  # type: ignore[attr-defined]
    with qemu.restore(saved, spec, f"kola-{RUN}-main-{wanted}-clone", idle) as clone:
        assert "BdsDxe: " in clone.console()
        assert clone.lost() is None
    assert qemu.fingerprint(spec, idle) != qemu.fingerprint(SMALL, idle)


@needs_swtpm
@needs_virtiofsd
def test_programs_beside_a_machine_end_with_it(qemu: Qemu, idle: Prepared, folder: Path) -> None:
    spec = dataclasses.replace(SMALL, tpm=True, binds=(Bind("/usr/share", "/var/a"), Bind("/etc", "/var/b")))
    with qemu.launch(spec, CONFIG, f"kola-{RUN}-main-beside", idle) as machine:
        wait_until(lambda: "Booting from" in machine.console(), 30)
        assert machine.lost() is None
        assert beside(folder) == ["swtpm", "virtiofsd", "virtiofsd"]
        assert not qemu.savable(spec)
    assert beside(folder) == []


@needs_virtiofsd
def test_a_bind_of_a_folder_that_is_not_there(qemu: Qemu, idle: Prepared) -> None:
    spec = dataclasses.replace(SMALL, binds=(Bind("/nonexistent", "/var/a"),))
    with (
        pytest.raises(ConfigError, match="bind /nonexistent: no such folder on this host"),
        qemu.launch(spec, CONFIG, f"kola-{RUN}-main-nothing", idle),
    ):
        pass


def test_a_program_that_ends_at_once(qemu: Qemu, idle: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = folder / "swtpm"
    broken.write_text("#!/bin/sh\necho no random numbers today >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(tpm, "find", lambda: str(broken))
    name = f"kola-{RUN}-main-broken"
    with (
        pytest.raises(PlatformError, match=f"machine {name}: .*/swtpm ended at once: no random numbers today"),
        qemu.launch(dataclasses.replace(SMALL, tpm=True), CONFIG, name, idle),
    ):
        pass
    assert not (folder / "scratch" / name).exists()


@needs_swtpm
def test_a_sweep_ends_a_program_whose_qemu_never_came(qemu: Qemu, folder: Path) -> None:
    def tags(run_id: str) -> Tags:
        place = folder / run_id
        place.mkdir()
        return Tags(f"kola-{run_id}-x", run_id, OWNER, "main", time.time(), place, place, place / "log")

    mine, other = (helpers.start(tpm.helper(each.folder), each) for each in (tags(f"{RUN}sweep"), tags(f"{RUN}other")))
    try:
        qemu.sweep(Scope(owner=OWNER, run_id=f"{RUN}sweep"))
        assert mine.wait(5) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        helpers.end(other, patience=0)


TPM = """
import pytest


@pytest.mark.kola(needs=["tpm"])
def test_tpm(machine):
    assert machine.run("cat /sys/class/tpm/tpm0/tpm_version_major").stdout == "2\\n"
    assert machine.run("test -c /dev/tpmrm0", sudo=True, check=False).exit_code == 0


def test_no_tpm(machine):
    assert machine.run("ls /sys/class/tpm").stdout == ""
"""


@needs_testos
@needs_swtpm
@pytest.mark.slow
def test_a_tpm_in_a_machine_that_asks_for_it(kola_pytest: Start) -> None:
    run = kola_pytest("test_tpm.py", files={"test_tpm.py": TPM})
    assert run.wait(900) == 0, run.output
    assert {test["outcome"] for test in run.tests.values()} == {"passed"}
