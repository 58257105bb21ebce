"""Options, domain XML and tags of the qemu platform: what needs no process."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kola.arch import get_arch
from kola.errors import ConfigError
from kola.platform import parse_options
from platforms.qemu import PLATFORM
from platforms.qemu.domain import KOLA_NS, QEMU_NS, ExtraDisk, Guest, domain_xml, mac_for
from platforms.qemu.options import Options
from platforms.qemu.tags import Tags

TAGS = Tags(
    name="kola-ab1-gw0-1", run_id="ab1", owner="someone", worker="gw0", created=1000.5,
    folder=Path("/s/kola-ab1-gw0-1"), artifacts=Path("/a/kola-ab1-gw0-1"), log=Path("/l/x.log"),
)  # fmt: skip


def _guest(**changes: object) -> Guest:
    values: dict[str, object] = {
        "name": TAGS.name, "tags": TAGS, "arch": get_arch("x86_64"), "emulator": "/usr/bin/qemu-system-x86_64",
        "accelerator": "tcg", "cpu": "", "memory_mib": 1024, "vcpus": 3, "overlay": Path("/s/root.qcow2"),
        "disks": (), "macs": ("52:54:00:00:00:01",), "networks": ("",), "ssh_port": 2222,
        "ignition": Path("/s/a&b.ign"),
        "console": Path("/a/con,sole.txt"), "journal": Path("/a/journal.jsonl"),
        "ignition_journal": Path("/a/ignition.jsonl"), "wake": Path("/s/wa,ke"), "ready": Path("/s/ready"),
        "security_models": (), "owner_ids": (7, 8),
    }  # fmt: skip
    return Guest(**(values | changes))  # type: ignore[arg-type]


def _xml(guest: Guest) -> ET.Element:
    return ET.fromstring(domain_xml(guest))  # noqa: S314 - our own


def _arguments(xml: ET.Element) -> list[str]:
    return [arg.attrib["value"] for arg in xml.iter(f"{{{QEMU_NS}}}arg")]


# -- options ---------------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    options = parse_options(PLATFORM, [])
    assert (options.uri, options.accelerator, options.cpu) == ("qemu:///embed", "auto", "")


@pytest.mark.parametrize("uri", ["qemu+ssh://host/system", "qemu://host/system", "xen:///system", "test:///default"])
def test_other_uris_are_refused_in_one_line(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(PLATFORM, [f"uri={uri}"])
    message = str(caught.value)
    assert "\n" not in message
    assert uri in message
    assert "qemu:///embed, qemu:///session, qemu:///system" in message


def test_a_remote_uri_is_called_remote() -> None:
    with pytest.raises(ConfigError, match="other hosts are not supported"):
        Options(uri="qemu+ssh://host/system")


def test_unknown_accelerator() -> None:
    with pytest.raises(ConfigError, match="-P accelerator=hvf: allowed: auto, kvm, tcg"):
        Options(accelerator="hvf")


# -- domain ----------------------------------------------------------------------------------------------------------


def test_domain_of_a_plain_machine() -> None:
    xml = _xml(_guest())
    assert xml.attrib["type"] == "qemu"
    assert xml.findtext("memory") == "1024"
    assert xml.findtext("vcpu") == "3"
    assert xml.find("genid") is not None
    entry = xml.find("sysinfo[@type='fwcfg']/entry")
    assert entry is not None
    assert entry.attrib == {"name": "opt/com.coreos/config", "file": "/s/a&b.ign"}
    assert [disk.attrib["dev"] for disk in xml.iterfind("devices/disk/target")] == ["vda"]
    arguments = _arguments(xml)
    assert f"user,id=net0,hostname={TAGS.name},hostfwd=tcp:127.0.0.1:2222-:22" in arguments
    assert "file,id=console,append=on,path=/a/con,,sole.txt" in arguments
    assert "pipe,id=wake,path=/s/wa,,ke" in arguments
    assert "-incoming" not in arguments
    assert "-cpu" not in arguments


def test_a_machine_to_be_restored_differs_in_nothing_but_that_it_waits() -> None:
    new, restored = (_arguments(_xml(_guest(incoming=incoming))) for incoming in (False, True))
    assert restored == [*new, "-incoming", "defer"]


def test_metadata_and_environment_carry_the_tags() -> None:
    xml = _xml(_guest())
    machine = xml.find(f"metadata/{{{KOLA_NS}}}machine")
    assert machine is not None
    assert Tags.from_attributes(machine.attrib) == TAGS
    environment = {e.attrib["name"]: e.attrib["value"] for e in xml.iter(f"{{{QEMU_NS}}}env")}
    assert Tags.from_environment(environment | {"PATH": "/bin"}) == TAGS


def test_kvm_and_a_cpu_of_ones_own() -> None:
    xml = _xml(_guest(accelerator="kvm", cpu="host,-pmu"))
    assert xml.attrib["type"] == "kvm"
    arguments = _arguments(xml)
    assert arguments[arguments.index("-cpu") + 1] == "host,-pmu"


def test_extra_disks_and_nics() -> None:
    disks = (ExtraDisk(Path("/s/d1"), "data"), ExtraDisk(Path("/s/d2"), ""))
    xml = _xml(_guest(disks=disks, macs=("52:54:00:00:00:01", "52:54:00:00:00:02"), networks=("", "")))
    assert [disk.attrib["dev"] for disk in xml.iterfind("devices/disk/target")] == ["vda", "vdb", "vdc"]
    assert [disk.findtext("serial") for disk in xml.iterfind("devices/disk")] == [None, "data", None]
    assert [len(disk.findall("boot")) for disk in xml.iterfind("devices/disk")] == [1, 0, 0]
    arguments = _arguments(xml)
    assert f"user,id=net1,hostname={TAGS.name}" in arguments
    slots = [part for argument in arguments for part in argument.split(",") if part.startswith("addr=")]
    assert len(slots) == len(set(slots)) == 3


def test_machines_meet_on_a_network_of_their_own() -> None:
    def backend(network: str) -> str:
        arguments = _arguments(_xml(_guest(macs=("52:54:00:00:00:01", "52:54:00:00:00:02"), networks=("", network))))
        return next(argument for argument in arguments if ",id=net1," in argument)

    found = re.fullmatch(r"socket,id=net1,mcast=239\.(\d+)\.(\d+)\.(\d+):(\d+),localaddr=127\.0\.0\.1", backend("a.x"))
    assert found
    assert all(int(byte) < 256 for byte in found.groups()[:3])
    assert 1024 < int(found[4]) < 32768
    assert backend("a.x") == backend("a.x")
    assert len({backend(name) for name in ("a.x", "a.y", "b.x")}) == 3


def test_a_daemon_runs_qemu_as_the_user_and_unconfined() -> None:
    xml = _xml(_guest(security_models=("dac", "apparmor")))
    labels = {label.attrib["model"]: label for label in xml.iterfind("seclabel")}
    assert labels["dac"].findtext("label") == "+7:+8"
    assert labels["dac"].attrib["relabel"] == "no"
    assert labels["apparmor"].attrib["type"] == "none"


def test_mac_addresses_differ_by_machine_and_by_nic_and_stay() -> None:
    macs = {mac_for(name, index) for name in ("a", "b") for index in (0, 1)}
    assert len(macs) == 4
    assert all(mac.startswith("52:54:00:") and len(mac) == 17 for mac in macs)
    assert mac_for("a", 0) == mac_for("a", 0)


# -- tags ------------------------------------------------------------------------------------------------------------


def test_tags_in_a_folder(tmp_path: Path) -> None:
    tags = Tags("n", "r", "o", "w", 1.0, tmp_path, tmp_path, tmp_path)
    tags.write()
    assert Tags.from_folder(tmp_path) == tags


@pytest.mark.parametrize("text", ["", "[]", '"x"', '{"name": "n"}', "{"])
def test_what_is_no_tags_file_is_not_taken_for_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "tags.json").write_text(text)
    assert Tags.from_folder(tmp_path) is None


def test_a_copied_tags_file_does_not_speak_for_another_folder(tmp_path: Path) -> None:
    tags = Tags("n", "r", "o", "w", 1.0, tmp_path / "else", tmp_path, tmp_path)
    (tmp_path / "else").mkdir()
    tags.write()
    (tmp_path / "tags.json").write_text((tmp_path / "else/tags.json").read_text())
    assert Tags.from_folder(tmp_path) is None
