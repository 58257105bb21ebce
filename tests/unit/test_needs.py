from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kola.errors import ConfigError
from kola.needs import Isolation, Needs, matches, parse_needs
from kola.spec import Bind, Capability, Disk, MachineSpec, Nic

RULES = frozenset({"oom", "kernel-panic"})
HERE = Path("tests")


def parse(**kwargs: Any) -> Needs:
    return parse_needs(kwargs, folder=HERE, rules=RULES)


def test_a_bare_marker_is_one_fresh_machine() -> None:
    needs = parse()
    assert (needs.isolation, needs.machines, needs.spec) == (Isolation.FRESH, 1, MachineSpec())


def test_a_tpm_is_of_the_machine() -> None:
    needs = parse(needs=["tpm", "luks"])
    assert (needs.needs, needs.spec) == (("luks",), MachineSpec(tpm=True))
    assert needs.spec.needs() == {Capability.TPM}
    config = {
        "ignition": {"version": "3.3.0"},
        "storage": {"luks": [{"name": "data", "device": "/dev/vdb", "clevis": {"tpm2": True}}]},
    }
    assert parse(ignition=config).spec.tpm
    config["storage"]["luks"][0]["clevis"]["tpm2"] = False  # type: ignore[index]
    assert not parse(ignition=config).spec.tpm
    with pytest.raises(ConfigError, match="unknown key 'tpm'"):
        parse(tpm=True)


def test_every_key_arrives() -> None:
    needs = parse(
        isolation="first_boot",
        machines=2,
        memory_mib=2048,
        vcpus=4,
        numa_nodes=2,
        firmware="uefi",
        binds=["/srv,/var/srv"],
        disk_gib=12,
        root_disk={"channel": "scsi"},
        disks=[{"size_gib": 5, "serial": "data"}, Disk(1)],
        nics=[Nic(), {"mac": "52:54:00:00:00:01"}],
        kernel_args=["quiet"],
        first_boot_kernel_args=("net.ifnames=0",),
        platforms=["qemu"],
        architectures=["!s390x"],
        tags=["slow"],
        needs=["podman"],
        description="all of it",
        covers="boot",
        host_ports=[2049],
        skip_checks={"oom": "provoked"},
        timeout=30,
    )
    assert needs.spec == MachineSpec(
        memory_mib=2048, vcpus=4, numa_nodes=2, firmware="uefi",
        binds=(Bind("/srv", "/var/srv"),), disk_gib=12, root_disk=Disk(channel="scsi"),
        disks=(Disk(5, "data"), Disk(1)),
        nics=(Nic(), Nic("52:54:00:00:00:01")), kernel_args=("quiet",), first_boot_kernel_args=("net.ifnames=0",),
    )  # fmt: skip
    assert needs.spec.needs() == {
        Capability.DISK_OPTIONS, Capability.EXTRA_DISKS, Capability.EXTRA_NICS, Capability.KERNEL_ARGS,
        Capability.DISK_SERIALS, Capability.UEFI, Capability.HOST_FOLDERS, Capability.NUMA,
    }  # fmt: skip
    assert (needs.isolation, needs.machines, needs.timeout) == (Isolation.FIRST_BOOT, 2, 30.0)
    assert (needs.platforms, needs.architectures, needs.tags, needs.needs) == (
        ("qemu",), ("!s390x",), ("slow",), ("podman",),
    )  # fmt: skip
    assert needs.skip_checks == {"oom": "provoked"}
    assert (needs.covers, needs.host_ports) == ("boot", (2049,))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"colour": 1}, "unknown key 'colour'; allowed: isolation, machines"),
        ({"isolation": "none"}, "isolation='none': allowed: shared, fresh, first_boot"),
        ({"machines": 0}, "machines=0: at least 1"),
        ({"machines": "2"}, "machines='2': expected a whole number"),
        ({"machines": True}, "machines=True: expected a whole number"),
        ({"machines": 2, "isolation": "shared"}, "only a single machine can be shared"),
        ({"memory_mib": 12}, "memory_mib must be at least 256, not 12"),
        ({"memory_mib": 1.5}, "memory_mib=1.5: expected a whole number"),
        ({"disks": [5]}, "disks: 5: expected kola.spec.Disk or"),
        ({"disks": [{"size": 5}]}, "disks: .* expected kola.spec.Disk or"),
        ({"disks": [{"size_gib": 0}]}, "disk size must be at least 1 GiB, not 0"),
        ({"nics": [{"mac": "52:54:00"}]}, "nics: mac='52:54:00': expected six bytes such as"),
        ({"nics": [{"mac": None}]}, "nics: .* expected kola.spec.Nic or"),
        ({"nics": [{"network": "a b"}]}, "nics: network='a b': allowed: letters, digits"),
        ({"nics": [{"network": 5}]}, "nics: .* expected kola.spec.Nic or {'mac': '', 'network': ''}"),
        ({"machines": 2, "nics": [{"mac": "52:54:00:00:00:01", "network": "a"}]}, "the same mac= on one network"),
        ({"kernel_args": "quiet"}, "kernel_args='quiet': expected a list of strings"),
        ({"kernel_args": ["a b"]}, "kernel argument 'a b' must be one word"),
        ({"architectures": ["sparc"]}, "architectures: unknown 'sparc'; known: x86_64, aarch64"),
        ({"platforms": "qemu"}, "platforms='qemu': expected a list of strings"),
        ({"covers": "boots"}, "covers='boots': no class of bugs; allowed: boot, provisioning"),
        ({"covers": 1}, "expected a string"),
        ({"skip_checks": ["oom"]}, "expected {'rule-id': 'reason'}"),
        ({"skip_checks": {"omm": "x"}}, "unknown rule 'omm'; known: kernel-panic, oom"),
        ({"skip_checks": {"oom": ""}}, "rule 'oom' needs a reason"),
        ({"timeout": 0}, "timeout=0: expected a positive number of seconds"),
        ({"ignition": 5}, "ignition=5: expected a dict, JSON, or the path of a .ign file"),
        ({"ignition": "none.ign"}, "ignition='none.ign': No such file or directory"),
        ({"ignition": "{"}, "ignition="),
        ({"ignition": {"ignition": {"version": {"3.0.0"}}}}, "ignition=: not JSON: Object of type set"),
        ({"ignition": {"ignition": {"version": "9.9.9"}}}, "9.9.9"),
        ({"butane": "missing.bu"}, "butane='missing.bu': No such file or directory: "),
        ({"butane": "variant: fcos\nversion: 9.0.0\n"}, "butane=: line 2: version: '9.0.0'; allowed: 1.0.0, "),
        ({"butane": {"variant": "fcos"}}, "butane={'variant': 'fcos'}: expected YAML, or the path of a .bu file"),
        ({"butane": "a: b\n", "ignition": "a.ign"}, "ignition= and butane=: only one of them can be given"),
    ],
)
def test_a_bad_value_is_one_line(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(**kwargs)
    assert "\n" not in str(caught.value)


def test_an_ignition_config_by_path_dict_and_text_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "one.ign").write_text('{"ignition": {"version": "3.0.0"}}')
    kinds = ["one.ign", {"ignition": {"version": "3.0.0"}}, '{"ignition":{"version":"3.0.0"}}']
    keys = {parse_needs({"ignition": kind}, folder=tmp_path, rules=RULES).machine_key() for kind in kinds}
    assert len(keys) == 1


def test_one_machine_serves_two_tests_only_when_they_need_the_same() -> None:
    config = {"ignition": {"version": "3.0.0"}, "systemd": {"units": [{"name": "a.service", "mask": True}]}}
    keys = [parse(), parse(description="other", tags=["x"], timeout=5), parse(memory_mib=2048), parse(ignition=config)]
    assert keys[0].machine_key() == keys[1].machine_key()
    assert len({needs.machine_key() for needs in keys}) == 3


def test_networks_are_a_capability_and_each_tests_own() -> None:
    spec = parse(nics=[{"network": "cluster"}, {}]).spec
    assert spec.needs() == {Capability.EXTRA_NICS, Capability.NETWORKS}
    assert spec.with_networks_of("a").nics == (Nic(network="a.cluster"), Nic())
    assert parse(nics=[{}]).machine_key() != parse(nics=[{"network": "cluster"}]).machine_key()


@pytest.mark.parametrize(
    ("selector", "selected"),
    [((), True), (("qemu",), True), (("aws",), False), (("!qemu",), False), (("!aws",), True), (("qemu", "aws"), True)],
)
def test_selectors(selector: tuple[str, ...], selected: bool) -> None:  # noqa: FBT001
    assert matches(selector, "qemu") is selected
