"""Machines that die while they are made, without guests: they are processes, and a local sshd answers for all."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from kola.clones import CLIENT_KEY, CONFIG, MACHINE
from kola.errors import PlatformError
from kola.images import Image
from kola.keys import generate_key, write_client_key
from kola.launcher import Boot, Launcher, Running, Wanted
from kola.lives import Reader
from kola.platform import Instance, Prepared, SnapshotPlatform
from kola.progress import Progress
from kola.run import CLIENT_KEY as RUN_KEY
from kola.run import RunInfo
from kola.spec import MachineSpec
from tests.integration.local_sshd import LocalSshd, needs_sshd
from tests.integration.process_platform import Options, ProcessInstance, ProcessPlatform, machines

pytestmark = needs_sshd

WANTED = Wanted(MachineSpec(), None, range(1), networks="", clone=True)


class RestoringPlatform(ProcessPlatform, SnapshotPlatform):
    """Its saved machines need no saving: sshd answers for each machine, unless somebody has killed it."""

    port = 0
    killed = 0
    """How many of the next ones are killed at once."""

    def restore(
        self, folder: Path, spec: MachineSpec, name: str, prepared: Prepared
    ) -> AbstractContextManager[Instance]:
        assert folder.is_dir()
        return self.launch(spec, b"", name, prepared)

    @contextlib.contextmanager
    def launch(self, spec: MachineSpec, ignition: bytes, name: str, prepared: Prepared) -> Iterator[Instance]:
        with super().launch(spec, ignition, name, prepared) as instance:
            assert isinstance(instance, ProcessInstance)
            if self.killed:
                self.killed -= 1
                instance.process.kill()
                instance.process.wait()
            else:
                instance.port = self.port
            yield instance

    def save(self, instance: Instance, folder: Path) -> None:
        raise PlatformError(f"{instance.name} cannot be saved in {folder}")

    def set_clock(self, instance: Instance) -> None:
        """Its clock is this host's."""

    def fingerprint(self, spec: MachineSpec, prepared: Prepared) -> str:
        return f"{spec} {prepared}"


@pytest.fixture
def launcher(tmp_path: Path, sshd: LocalSshd) -> Launcher:
    """A launcher whose cache has the saved machine."""
    write_client_key(tmp_path / "scratch" / RUN_KEY, generate_key())
    info = RunInfo(
        run_id="run",
        owner="tester",
        platform=f"{RestoringPlatform.__module__}:{RestoringPlatform.__name__}",
        options=Options(),
        arch="x86_64",
        image=Image(tmp_path / "none", "raw", "0123456789abcdef", "none"),
        prepared=Prepared("", "none"),
        output=tmp_path / "output",
        scratch=tmp_path / "scratch",
        cache=tmp_path / "cache",
        budget_mib=1000,
        keep_machines="never",
        workers=1,
        clone=True,
    )
    platform = info.load("main")
    assert isinstance(platform, RestoringPlatform)
    platform.port = sshd.port
    info.output.mkdir()
    launcher = Launcher(info, platform, Progress(info.output / "progress.jsonl", "main"))
    clones = launcher.clones
    assert clones is not None
    clones.login = dataclasses.replace(clones.login, user=sshd.user)
    with clones.cache.claim(clones.key(WANTED.spec, None, 0), lambda _: None) as claim:
        assert claim.draft is not None
        (claim.draft / MACHINE).mkdir()
        (claim.draft / CONFIG).write_text("{}")
        write_client_key(claim.draft / CLIENT_KEY, sshd.client_key)
        claim.commit({"host_key": sshd.host_key.public})
    return launcher


def killing(launcher: Launcher, times: int) -> None:
    assert isinstance(launcher.platform, RestoringPlatform)
    launcher.platform.killed = times


def clone(launcher: Launcher) -> bool:
    """Tell whether a clone came of it, and works."""
    clones, running = launcher.clones, list[Running]()
    assert clones is not None
    with launcher._claim(clones, WANTED, 0) as claim:
        cloned = launcher._clone(clones, claim, WANTED, running)
        assert cloned is (claim.draft is None), "either there is a clone or the machine has to be made"
    for one in running:
        assert one.machine.run("echo well").stdout == "well\n"
        one.end()
    return cloned


def said(launcher: Launcher) -> list[str]:
    lines = launcher.progress.path.read_text().splitlines()
    return [json.loads(line)["state"].partition(":")[0] for line in lines]


def test_a_clone_that_somebody_kills_does_not_cost_the_saved_machine(launcher: Launcher) -> None:
    killing(launcher, 1)
    assert clone(launcher)
    assert clone(launcher), "the saved machine is still there"
    assert said(launcher) == ["clone failed, once more", "cloned", "cloned"]


def test_a_saved_machine_that_fails_twice_is_dropped(launcher: Launcher) -> None:
    killing(launcher, 3)
    assert not clone(launcher)
    assert launcher.clones is not None
    assert launcher.clones.cache.count() == 0
    assert said(launcher) == ["clone failed, once more", "clone dropped"]


def boot(launcher: Launcher, sshd: LocalSshd, count: int = 1) -> list[Running]:
    """Boot machines as a test's own are, but for the keys, which are the local sshd's."""
    access = dataclasses.replace(
        launcher._access, user=sshd.user, client_key=sshd.client_key, host_key=sshd.host_key.public
    )
    running = list[Running]()
    try:
        launcher._boot(WANTED, [Boot(access, sshd.host_key)] * count, running)
        for one in running:
            assert one.machine.run("echo well").stdout == "well\n"
    finally:
        for one in running:
            one.end()
    return running


def test_a_machine_that_dies_of_its_platform_while_it_boots_is_made_once_more(
    launcher: Launcher, sshd: LocalSshd
) -> None:
    killing(launcher, 1)
    names = [one.machine.name[-1] for one in boot(launcher, sshd, count=2)]
    assert names == ["3", "2"], "it takes the place of the one that died"
    assert said(launcher).count("lost, once more") == 1
    assert said(launcher).count("up") == 2
    lives = Reader(launcher.lives.path).read()
    assert [name[-1] for name, life in lives.items() if life.up is None] == ["1"]
    assert all(life.gone is not None for life in lives.values())


def test_a_machine_that_dies_of_its_platform_twice_is_the_platforms_error(launcher: Launcher, sshd: LocalSshd) -> None:
    killing(launcher, 2)
    with pytest.raises(PlatformError, match=r"machine kola-run-main-2 lost after .*: the process is gone"):
        boot(launcher, sshd)
    assert not [tag for tag in machines() if tag.run_id == "run"]
