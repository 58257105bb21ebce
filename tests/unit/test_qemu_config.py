"""Options, domain XML and tags of the qemu platform: what needs no process."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kola.arch import get_arch
from kola.errors import ConfigError
from kola.platform import parse_options
from kola.spec import Disk, parse_disk
from platforms.qemu import PLATFORM, firmware
from platforms.qemu.domain import KOLA_NS, QEMU_NS, Guest, domain_xml, mac_for
from platforms.qemu.firmware import Flash
from platforms.qemu.options import Options
from platforms.qemu.storage import GuestDisk
from platforms.qemu.tags import Tags

TAGS = Tags(
    name="kola-ab1-gw0-1", run_id="ab1", owner="someone", worker="gw0", created=1000.5,
    folder=Path("/s/kola-ab1-gw0-1"), artifacts=Path("/a/kola-ab1-gw0-1"), log=Path("/l/x.log"),
)  # fmt: skip


ROOT = GuestDisk(Path("/s/root.qcow2"))


def _guest(**changes: object) -> Guest:
    values: dict[str, object] = {
        "name": TAGS.name, "tags": TAGS, "arch": get_arch("x86_64"), "emulator": "/usr/bin/qemu-system-x86_64",
        "accelerator": "tcg", "cpu": "", "memory_mib": 1024, "vcpus": 3, "numa_nodes": 1, "disks": (ROOT,),
        "macs": ("52:54:00:00:00:01",), "networks": ("",), "ssh_port": 2222,
        "ignition": Path("/s/a&b.ign"),
        "console": Path("/a/con,sole.txt"), "journal": Path("/a/journal.jsonl"),
        "ignition_journal": Path("/a/ignition.jsonl"), "wake": Path("/s/wa,ke"), "ready": Path("/s/ready"),
        "security_models": (), "owner_ids": (7, 8),
        "nvram": Path("/s/nvram.fd"),
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
    disks = (ROOT, GuestDisk(Path("/s/d1"), Disk(1, "data")), GuestDisk(Path("/s/d2"), Disk(1)))
    xml = _xml(_guest(disks=disks, macs=("52:54:00:00:00:01", "52:54:00:00:00:02"), networks=("", "")))
    assert [disk.attrib["dev"] for disk in xml.iterfind("devices/disk/target")] == ["vda", "vdb", "vdc"]
    assert [disk.findtext("serial") for disk in xml.iterfind("devices/disk")] == ["primary-disk", "data", "disk2"]
    assert [len(disk.findall("boot")) for disk in xml.iterfind("devices/disk")] == [1, 0, 0]
    arguments = _arguments(xml)
    assert f"user,id=net1,hostname={TAGS.name},net=10.0.3.0/24" in arguments
    slots = [part for argument in arguments for part in argument.split(",") if part.startswith("addr=")]
    assert len(slots) == len(set(slots)) == 3


def _disks(*specs: str) -> list[str]:
    """Return QEMU's arguments for disks, the first of which is the root disk; the paths are /s/0, /s/1..."""
    disks = tuple(GuestDisk(Path(f"/s/{index}"), parse_disk(spec)) for index, spec in enumerate(specs))
    xml = _xml(_guest(disks=disks))
    assert [disk.attrib["dev"] for disk in xml.iterfind("devices/disk/target")] == [
        f"vd{letter}" for letter, _ in zip("abc", filter(None, (_plain(spec) for spec in specs)), strict=False)
    ]
    arguments = _arguments(xml)
    places = [part for argument in arguments for part in argument.split(",") if part.startswith("addr=")]
    assert len(places) == len(set(places))
    return [argument for argument in arguments if argument.startswith(("nvme,", "scsi-hd,", "driver=", "virtio-scsi"))]


def _plain(spec: str) -> bool:
    return not parse_disk(spec).on_scsi and parse_disk(spec).channel == "virtio"


def test_numa_nodes() -> None:
    cpu = _xml(_guest(numa_nodes=2, vcpus=4, memory_mib=1025)).find("cpu")
    assert cpu is not None
    assert [cell.attrib for cell in cpu.iterfind("numa/cell")] == [
        {"id": "0", "cpus": "0-1", "memory": "512", "unit": "MiB"},
        {"id": "1", "cpus": "2-3", "memory": "513", "unit": "MiB"},
    ]
    topology = cpu.find("topology")
    assert topology is not None
    assert topology.attrib == {"sockets": "2", "cores": "2", "threads": "1"}


def test_folders_of_the_host() -> None:
    assert _xml(_guest()).find("memoryBacking") is None
    xml = _xml(_guest(shares=(Path("/s/a"), Path("/s/b,c"))))
    assert xml.find("memoryBacking/access[@mode='shared']") is not None
    arguments = _arguments(xml)
    assert "socket,id=bind1,path=/s/b,,c" in arguments
    assert "vhost-user-fs-pci,chardev=bind0,tag=kola-bind-0,addr=0xf.0,multifunction=on" in arguments


def test_firmware() -> None:
    assert _xml(_guest()).find("os/loader") is None
    flash = Flash(Path("/f/code.fd"), Path("/f/vars.fd"), secure=True)
    xml = _xml(_guest(flash=flash))
    loader = xml.find("os/loader")
    assert loader is not None
    assert (loader.text, loader.attrib) == ("/f/code.fd", {"readonly": "yes", "type": "pflash", "secure": "yes"})
    assert xml.findtext("os/nvram") == "/s/nvram.fd"
    assert xml.find("features/smm[@state='on']") is not None
    xml = _xml(_guest(flash=Flash(Path("/f/code.fd"), Path("/f/vars.fd"), secure=False)))
    assert xml.find("features/smm") is None
    with pytest.raises(ConfigError, match="-P firmware=efi: allowed: bios, uefi, uefi-secure"):
        parse_options(PLATFORM, ["firmware=efi"])


def _descriptor(folder: Path, name: str, *features: str, **changes: object) -> None:
    descriptor = {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": f"/f/{name}.code", "format": "raw"},
            "nvram-template": {"filename": f"/f/{name}.vars", "format": "raw"},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
        "features": list(features),
        **changes,
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(descriptor))


def test_the_firmware_of_this_host(tmp_path: Path) -> None:
    folders, arch = (tmp_path / "mine", tmp_path / "theirs"), get_arch("x86_64")
    assert firmware.find("uefi", arch, folders) is None
    theirs = folders[1]
    _descriptor(theirs, "10-arm", targets=[{"architecture": "aarch64", "machines": ["virt-*"]}])
    _descriptor(theirs, "20-bios", **{"interface-types": ["bios"]})
    _descriptor(theirs, "30-memory", mapping={"device": "memory", "filename": "/f/x"})
    _descriptor(theirs, "35-not-enforced", "secure-boot", "requires-smm")
    _descriptor(theirs, "40-enforced", "secure-boot", "enrolled-keys", "requires-smm")
    _descriptor(theirs, "60-plain", "acpi-s3")
    _descriptor(theirs, "70-plain", "acpi-s3")
    (theirs / "05-broken.json").write_text("{")
    assert firmware.find("uefi", arch, folders) == Flash(
        Path("/f/60-plain.code"), Path("/f/60-plain.vars"), secure=False
    )
    found = firmware.find("uefi-secure", arch, folders)
    assert found == Flash(Path("/f/40-enforced.code"), Path("/f/40-enforced.vars"), secure=True)
    folders[0].mkdir()
    (folders[0] / "60-plain.json").write_text("")  # hides the other
    found = firmware.find("uefi", arch, folders)
    assert found is not None
    assert found.code == Path("/f/70-plain.code")


def test_a_tpm() -> None:
    assert "-tpmdev" not in _arguments(_xml(_guest()))
    arguments = _arguments(_xml(_guest(tpm=Path("/s/swtpm.sock"))))
    assert "socket,id=tpm,path=/s/swtpm.sock" in arguments
    assert "tpm-tis,tpmdev=tpm0" in arguments


def test_an_nvme_disk_goes_by_the_command_line() -> None:
    _, block, device = _disks("", "5G:channel=nvme,4k,serial=fast")
    assert block.startswith("driver=qcow2,node-name=block1,file=file1,")
    assert device == (
        "nvme,drive=block1,serial=fast,physical_block_size=4096,logical_block_size=4096,addr=0x8.0,multifunction=on"
    )


def test_two_paths_to_the_root_disk_are_two_scsi_disks_on_one_file() -> None:
    file, block, *devices = _disks(":mpath", "1G")
    assert "filename=/s/0," in file
    assert "node-name=block0," in block
    controllers, paths = devices[::2], devices[1::2]
    assert controllers == [
        "virtio-scsi-pci,id=scsi0-0,addr=0x8.0,multifunction=on",
        "virtio-scsi-pci,id=scsi0-1,addr=0x8.1,multifunction=on",
    ]
    common = f"serial=primary-disk,wwn={0x5000C50000000001},share-rw=on,vendor=NVME,product=VirtualMultipath"
    assert paths == [
        f"scsi-hd,bus=scsi0-0.0,drive=block0,{common},bootindex=0",
        f"scsi-hd,bus=scsi0-1.0,drive=block0,{common},bootindex=1000",
    ]


def test_scsi_disks_have_a_wwn_each() -> None:
    devices = [argument for argument in _disks("", "1G:channel=scsi", "1G:channel=scsi,wwn=7") if "scsi-hd" in argument]
    assert [re.findall("wwn=[0-9]+|serial=[a-z0-9]+", device) for device in devices] == [
        ["serial=disk1", f"wwn={0x5000C50000000002}"],
        ["serial=disk2", "wwn=7"],
    ]


def test_sectors_of_a_virtio_disk() -> None:
    disks = (ROOT, GuestDisk(Path("/s/1"), parse_disk("1G:4k")), GuestDisk(Path("/s/2"), parse_disk("1G:512e")))
    found = [disk.find("blockio") for disk in _xml(_guest(disks=disks)).iterfind("devices/disk")]
    assert [None if one is None else one.attrib for one in found] == [
        None,
        {"physical_block_size": "4096", "logical_block_size": "4096"},
        {"physical_block_size": "4096", "logical_block_size": "512"},
    ]


def test_an_option_for_all_root_disks_is_read_as_metadata_is() -> None:
    assert Options(primary_disk=":channel=nvme").primary_disk == ":channel=nvme"
    with pytest.raises(ConfigError, match=r"-P primary_disk=:sata: disk ':sata': unknown option 'sata'; allowed: chan"):
        parse_options(PLATFORM, ["primary-disk=:sata"])


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
