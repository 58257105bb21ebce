"""The qemu platform through libvirt's daemons: the host's (qemu:///system) and the user's (qemu:///session).

Each in a process of its own: once libvirt's embedded driver was used in a process, every ``qemu:`` URI leads to it.
"""

import multiprocessing
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from kola.arch import host_arch
from kola.errors import ConfigError
from kola.platform import Prepared, Scope
from kola.wait import wait_until
from platforms.qemu.driver import Qemu
from platforms.qemu.options import Options
from platforms.qemu.process import find_guest

from .qemu_guests import CONFIG, HALT, OWNER, RUN, SMALL, context_in, image_of, killed_run, make_disk, running

SOCKETS = (Path("/run/libvirt/libvirt-sock"), Path("/run/libvirt/virtqemud-sock"))

pytestmark = [
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is not installed"),
    pytest.mark.skipif(host_arch().name != "x86_64", reason="the guests here are x86_64 code"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kq-", ignore_cleanup_errors=True) as name:
        yield Path(name)
    assert running() == []


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"kola-{RUN}-main-{request.node.name.removeprefix('test_')[:40]}"


@pytest.fixture
def host_daemon() -> Iterator[None]:
    """A libvirtd for qemu:///system: the host's own, or one started here with its own settings and folders."""
    if any(path.exists() for path in SOCKETS):
        yield
        return
    libvirtd = shutil.which("libvirtd", path="/usr/sbin:/usr/bin")
    if os.geteuid() != 0 or libvirtd is None or shutil.which("unshare") is None:
        pytest.skip("no libvirtd serves qemu:///system, and starting one needs root, libvirtd and unshare")
    with tempfile.TemporaryDirectory(prefix="kqd-", ignore_cleanup_errors=True) as name:
        own = Path(name)
        for part in ("etc", "lib", "cache"):
            (own / part).mkdir()
        # Settings of a host whose QEMU may use /dev/kvm: elsewhere libvirtd looks at QEMU anew for every step.
        (own / "etc/qemu.conf").write_text(
            'stdio_handler = "file"\nsecurity_driver = "none"\nuser = "root"\ngroup = "root"\nnamespaces = []\n'
        )
        (own / "etc/libvirtd.conf").write_text('auth_unix_rw = "none"\n')
        script = "mount --make-rprivate /\nmount --bind $0/etc /etc/libvirt\n"
        for part in ("lib", "cache"):
            script += f"mkdir -p /var/{part}/libvirt\nmount --bind $0/{part} /var/{part}/libvirt\n"
        script += f"exec {libvirtd} -f $0/etc/libvirtd.conf -p $0/pid\n"
        with (own / "log").open("w") as log:
            daemon = subprocess.Popen(["unshare", "-m", "sh", "-ec", script, name], stdout=log, stderr=log)
        try:
            wait_until(SOCKETS[0].exists, 20, what="libvirtd")
            yield
        finally:
            daemon.terminate()
            daemon.wait(20)
            SOCKETS[0].unlink(missing_ok=True)


def _try_daemon(uri: str, folder: Path, name: str) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
        processes.submit(_trial, uri, folder, name).result()


def _trial(uri: str, folder: Path, name: str) -> None:
    image = make_disk(folder / "halt.img", HALT)
    idle = Prepared(str(image), "tcg")
    qemu = Qemu(Options(uri=uri), host_arch(), context_in(folder))
    assert qemu.prepare(image_of(image)).image_ref == str(image)
    with qemu.launch(SMALL, CONFIG, name, idle) as machine:
        wait_until(lambda: "Booting from" in machine.console(), 60)
        assert machine.lost() is None
        domain = qemu._link.connection().lookupByName(name)
        assert RUN in domain.metadata(2, "urn:x-kola:machine:1")  # 2: an element of that namespace
        process = find_guest(name)
        assert process is not None
        assert Path(f"/proc/{process.pid}").stat().st_uid == os.geteuid()
        process.close()
    assert find_guest(name) is None
    assert name not in [d.name() for d in qemu._link.connection().listAllDomains()]
    assert (folder / "machines" / name / "qemu.log").exists() or os.geteuid() != 0
    killed_run(folder, name + "-x", idle.image_ref, uri)
    assert qemu.sweep(Scope(owner=OWNER, run_id=RUN)) == [name + "-x"]


@pytest.mark.usefixtures("host_daemon")
def test_the_hosts_daemon(folder: Path, name: str) -> None:
    try:
        _try_daemon("qemu:///system", folder, name)
    except ConfigError as e:
        if os.geteuid() == 0:
            raise
        pytest.skip(f"not for this user: {e}")


def test_the_users_own_daemon(folder: Path, name: str) -> None:
    if os.geteuid() == 0:
        pytest.skip("root has no daemon of its own: run this as another user")
    _try_daemon("qemu:///session", folder, name)


def test_no_daemon_is_one_line(folder: Path) -> None:
    if any(path.exists() for path in SOCKETS):
        pytest.skip("a daemon runs here")
    with pytest.raises(ConfigError, match="-P uri=qemu:///system: needs a running libvirtd or virtqemud") as caught:
        _try_daemon("qemu:///system", folder, "kola-never")
    assert "\n" not in str(caught.value)
