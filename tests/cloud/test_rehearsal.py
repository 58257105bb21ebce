"""What rehearsed clouds stand on, and the commands that use them."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from kola.arch import get_arch
from kola.cli import main
from kola.commands.rehearse import pytest_arguments
from kola.errors import ConfigError, PlatformError
from kola.images import resolve
from rehearsal.faults import Faults, Injection, Trouble, parse
from rehearsal.guest import Guest
from rehearsal.host import CloudHost, serving
from tests.cloud.conftest import ARCH, Cloud


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cut", Injection(Trouble.CUT)),
        ("capacity:RunInstances", Injection(Trouble.CAPACITY, "RunInstances")),
        ("error:Describe*:3", Injection(Trouble.ERROR, "Describe*", 3)),
        ("error::3:9", Injection(Trouble.ERROR, "*", 3, 9)),
    ],
)
def test_a_fault_on_the_command_line(text: str, expected: Injection) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", "fire", "cut:x:y", "cut:x:1:2:3", "cut:x:-1"])
def test_no_fault(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--fault '.*': expected TROUBLE"):
        parse(text)


def test_a_fault_befalls_the_calls_that_it_names_and_no_more() -> None:
    faults = Faults()
    faults.inject(Trouble.CAPACITY, "Run*", after=1, times=2)
    met = [faults.befall(call) for call in ("RunInstances", "Other", "RunInstances", "RunInstances", "RunInstances")]
    assert met == [None, None, Trouble.CAPACITY, Trouble.CAPACITY, None]
    assert faults.log == ["RunInstances", "Other", "RunInstances", "RunInstances", "RunInstances"]


def test_a_limit_throttles_what_is_beyond() -> None:
    faults = Faults()
    faults.limit(0.001)
    assert faults.befall("a") is Trouble.THROTTLE  # not one call has become free yet
    faults.limit(5)
    met = [faults.befall("a") for _ in range(8)]
    assert met[:5] == [None] * 5
    assert Trouble.THROTTLE in met[5:]


def test_a_host_without_guests(tmp_path: Path) -> None:
    with CloudHost(tmp_path / "host", get_arch("x86_64"), boots=False, slow_seconds=60) as host:
        host.add_image("image", tmp_path / "disk", "aws")
        given = {"user_data": b"", "memory_mib": 1, "vcpus": 1, "metadata": None}
        one, two = (host.create(name, "image", **given) for name in ("i1", "i2"))  # type: ignore[arg-type]
        assert one.address != two.address
        assert one.address.startswith("127.18.")
        assert (one.pending, one.running) == (True, False)
        host.slow_seconds = 0
        host.reboot("i1")
        assert (one.pending, one.running) == (False, True)
        host.stop("i1")
        assert not one.running
        host.delete("i1")
        host.delete("i1")
        assert list(host.machines) == ["i2"]
        with pytest.raises(PlatformError, match="no image other"):
            host.create("i3", "other", **given)  # type: ignore[arg-type]
    assert not (tmp_path / "host").exists()
    assert two.state == "gone"


def test_the_relay_passes_on_both_ways_and_ends(tmp_path: Path) -> None:
    """As QEMU runs it: a guest's connection is its standard input and output."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            peer, _ = server.accept()
            with peer:
                while data := peer.recv(1000):
                    peer.sendall(data[::-1])

        thread = threading.Thread(target=echo)
        thread.start()
        relay = Path(sys.modules[Guest.__module__].__file__ or "").with_name("relay.py")
        command = [sys.executable, "-IS", str(relay), str(server.getsockname()[1])]
        done = subprocess.run(command, input=b"hello", capture_output=True, timeout=30, check=True, cwd=tmp_path)
        thread.join()
    assert done.stdout == b"olleh"


def test_serving_ends() -> None:
    def app(_environ: object, start_response: object) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])  # type: ignore[operator]
        return [b"ok"]

    with serving(app) as port, socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert peer.makefile("rb").read().endswith(b"ok")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


class TestCommand:
    """What ``kola rehearse`` gives pytest."""

    NAME: ClassVar[str] = "aws"

    def test_pytest_learns_what_the_image_is(self, cloud: Cloud) -> None:
        image = replace(cloud.local, name="testos", ignition_max="3.3.0", capabilities=frozenset({"podman"}))
        platform, *found = pytest_arguments(cloud.rehearsal, image, ["tests/external/basic", "-k", "x"])
        assert platform == "--platform=aws"
        given = dict(word.split("=", 1) for word in found if word.startswith("--"))
        resolved = resolve(
            given["--image"], cache=cloud.folder, arch=ARCH, described_by=Path(given["--image-metadata"])
        )
        assert resolved.reference == f"cloud:{cloud.rehearsal.images[0]}"
        assert (resolved.name, resolved.ignition_max) == ("testos", "3.3.0")
        assert resolved.capabilities == frozenset({"podman"})

    @pytest.mark.parametrize("given", [["--image=testos"], ["--image", "testos"]])
    def test_an_image_of_the_user_goes_before(self, cloud: Cloud, given: list[str]) -> None:
        found = pytest_arguments(cloud.rehearsal, cloud.local, given)
        assert not any(word.startswith("--image") for word in found)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["rehearse", "moon"], "no rehearsal 'moon'; there are: aws, gcp, azure"),
        (["rehearse", "aws", "--fault", "fire"], "--fault 'fire': expected TROUBLE"),
        (["gc", "--platform=aws"], "say which age (--older-than 24h) or which run (--run ID)"),
        (["gc", "--platform=aws", "--older-than=old"], "--older-than 'old': expected a number and a unit"),
        (["gc", "--platform=qemu", "--older-than=1h"], "no cloud; without --platform this host is cleaned up"),
        (["gc", "--older-than=1h"], "--older-than: say on which cloud, with --platform"),
        (["gc", "-P", "region=x"], "-P: say on which cloud, with --platform"),
        (["gc", "--owner=me"], "--owner: say on which cloud, with --platform"),
        (["gc", "--arch=x86_64"], "--arch: say on which cloud, with --platform"),
        (["gc", "--run="], "--run '': expected the id of a run, such as "),
        (["gc", "--run=../x"], "--run '../x': expected the id of a run, such as "),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KOLA_CACHE", str(tmp_path))
    assert main(arguments) == 4
    error = capsys.readouterr().err
    assert error.startswith("ERROR: ")
    assert problem in error
    assert error.count("\n") == 1
