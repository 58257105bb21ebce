"""Which tests share a machine, what they need, and the units they run in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kola import ignition
from kola.errors import ConfigError
from kola.external.buckets import share
from kola.external.metadata import Metadata
from kola.external.model import ExternalTest, cannot_run
from kola.external.program import Program
from kola.external.tree import Found
from kola.needs import Isolation
from kola.spec import Bind, Capability, Disk, Nic


def made(name: str, config: ignition.Config | None = None, **metadata: object) -> ExternalTest:
    return ExternalTest(Found(name, Path("/x") / name), Metadata(**metadata), config)  # type: ignore[arg-type]


def shared(name: str, config: ignition.Config | None = None, *conflicts: str) -> ExternalTest:
    return made(name, config, exclusive=False, conflicts=conflicts)


def with_file(path: str, contents: str) -> ignition.Config:
    return ignition.add_file(ignition.empty(), path, contents)


def machines(*tests: ExternalTest) -> list[set[str]]:
    """Return which tests are together, by the config of their machine."""
    placed = share(tests)
    alone = [{name} for name, test in placed.items() if not test.shared]
    together: dict[str, set[str]] = {}
    for name, test in placed.items():
        if test.shared:
            key = ignition.serialise(test.merged).decode() if test.merged else ""
            together.setdefault(key, set()).add(name)
    return sorted([*alone, *together.values()], key=sorted)


def test_all_together() -> None:
    tests = share([shared("a", with_file("/etc/a", "a")), shared("b"), shared("c", with_file("/etc/c", "c"))])
    assert [tests[name].bucket for name in "abc"] == [1, 2, 3]
    merged = tests["a"].merged
    assert merged is not None
    assert [file["path"] for file in merged.tree["storage"]["files"]] == ["/etc/a", "/etc/c"]
    assert tests["b"].merged is merged is tests["c"].merged
    assert tests["b"].needs("x86_64", ()).machine_key() == tests["c"].needs("x86_64", ()).machine_key()
    assert tests["b"].needs("x86_64", ()).isolation is Isolation.SHARED


def test_one_alone_needs_no_company() -> None:
    test = share([shared("a")])["a"]
    assert not test.shared
    assert test.needs("x86_64", ()).isolation is Isolation.FRESH
    assert test.program().unit == "kola-runext.service"


def test_said_conflicts() -> None:
    """One of both says so; names that nobody has are of no importance."""
    a, b, c = shared("a", with_file("/a", "a")), shared("b", None, "a", "nobody"), shared("c", with_file("/c", "c"))
    assert machines(a, b, c) == [{"a", "c"}, {"b"}]


def test_configs_that_contradict() -> None:
    """Merged, one of them would not get its file."""
    a, b = shared("a", with_file("/etc/x", "one")), shared("b", with_file("/etc/x", "two"))
    c = shared("c", with_file("/etc/x", "one"))
    assert machines(a, b, c) == [{"a", "c"}, {"b"}]


def test_configs_that_cannot_be_merged() -> None:
    unit = ignition.add_unit(ignition.empty(), "a.service", "[Service]\nExecStart=/bin/true\n")
    file = with_file("/etc/systemd/system/a.service", "x")
    assert machines(shared("a", unit), shared("b", file)) == [{"a"}, {"b"}]


def test_needs_of_the_machine() -> None:
    test = made(
        "a", numa_nodes=True, bind_mount_host_ro=("/,/var/cosaroot",), required_host_ports=(2049, 111), min_memory=4096,
        min_disk=15, additional_nics=2, additional_disks=("5G:channel=nvme", "2"),
        append_kernel_args="a b=c",
        append_firstboot_kernel_args="d", timeout_min=8, tags=("x", "skip-base-checks"), platforms=("qemu",),
    )  # fmt: skip
    needs = test.needs("x86_64", {"avc-denial"})
    assert (needs.spec.memory_mib, needs.spec.disk_gib, needs.spec.nics) == (4096, 15, (Nic(), Nic()))
    assert needs.spec.disks == (Disk(5, channel="nvme"), Disk(2))
    assert (needs.spec.kernel_args, needs.spec.first_boot_kernel_args) == (("a", "b=c"), ("d",))
    assert (needs.tags, needs.platforms) == (("external", "x", "skip-base-checks"), ("qemu",))
    assert set(needs.skip_checks) == {"avc-denial"}
    assert needs.spec.binds == (Bind("/", "/var/cosaroot"),)
    assert test.minutes == 8
    assert (needs.spec.numa_nodes, needs.host_ports) == (2, (2049, 111))
    assert Capability.NUMA in needs.spec.needs()
    assert (made("a").minutes, shared("a").minutes) == (10, 1)
    with pytest.raises(ConfigError, match="disk 'large': expected a size in GiB, such as 5G"):
        made("a", additional_disks=("large",)).needs("x86_64", ())


def test_secure_boot() -> None:
    """As in kola the tag is enough; an image that is known not to boot so is another reason to skip it."""
    needs = made("a", tags=("secure-boot",)).needs("x86_64", ())
    assert (needs.spec.firmware, needs.needs) == ("uefi-secure", ("secure-boot",))
    assert needs.spec.needs() == {Capability.UEFI_SECURE}


def test_a_volume_that_is_bound_to_a_tpm() -> None:
    luks = {"name": "data", "device": "/dev/vdb", "clevis": {"tpm2": True}}
    text = json.dumps({"ignition": {"version": "3.3.0"}, "storage": {"luks": [luks]}})
    assert made("a", ignition.parse(text)).needs("x86_64", ()).spec.tpm
    assert not made("a", with_file("/a", "a")).needs("x86_64", ()).spec.tpm


def test_the_primary_disk() -> None:
    """Its size is ``minDisk`` if that is given."""
    spec = made("a", primary_disk="20G:mpath").needs("x86_64", ()).spec
    assert (spec.disk_gib, spec.root_disk) == (20, Disk(multipath=True))
    spec = made("a", primary_disk="20G:mpath", min_disk=12).needs("x86_64", ()).spec
    assert (spec.disk_gib, spec.root_disk) == (12, Disk(multipath=True))


@pytest.mark.parametrize(
    ("metadata", "platform", "distro", "why"),
    [
        ({}, "qemu", "fcos", ""),
        ({"distros": ("fcos",)}, "qemu", "fcos", ""),
        ({"distros": ("fcos",)}, "qemu", "testos", "not for distro testos (distros: fcos)"),
        ({"distros": ("!fcos",)}, "qemu", "fcos", "not for distro fcos (distros: !fcos)"),
        ({"distros": ("!fcos",)}, "qemu", "rhcos", ""),
        ({"distros": ("fcos",)}, "qemu", "", ""),
        ({"tags": ("platform-independent",)}, "aws", "", "tag platform-independent: run on qemu only"),
        ({"tags": ("platform-independent",)}, "qemu", "", ""),
        ({"primary_disk": "20G:mpath"}, "qemu", "", ""),
        ({"boot_from": "iso"}, "qemu", "", "kola cannot boot from an ISO image yet (bootFrom: iso)"),
        ({"no_instance_creds": True, "instance_type": "m5.large"}, "qemu", "", ""),
        ({"tags": ("secure-boot",)}, "qemu", "", ""),
    ],
)
def test_cannot_run(metadata: dict[str, object], platform: str, distro: str, why: str) -> None:
    said = Metadata(**metadata)  # type: ignore[arg-type]
    assert cannot_run(said, platform=platform, distro=distro, container="") == why


def test_a_container_image_of_the_release() -> None:
    said = Metadata(inject_container=True)
    without = "injectContainer: the image comes without a container image of its release"
    assert cannot_run(said, platform="qemu", distro="", container="") == without
    assert cannot_run(said, platform="qemu", distro="", container="/x/fcos.ociarchive") == ""
    assert cannot_run(said, platform="", distro="", container="") == ""  # nothing is known of an image
    text = Program("ext.p.a", Path("/x/a"), container=Path("/x/fcos.ociarchive")).unit_file()
    assert 'Environment="KOLA_EXT_OSTREE_OCIARCHIVE=/var/home/core/fcos.ociarchive"\n' in text


def test_unit() -> None:
    text = Program("ext.p.a", Path("/x/test one%.sh"), number=3).unit_file()
    assert re.findall(r"^\w+=.*", text, re.MULTILINE) == [
        "Description=kola test ext.p.a",
        "RemainAfterExit=yes",
        "EnvironmentFile=-/run/kola-runext-env",
        'Environment="KOLA_UNIT=kola-runext-3.service"',
        'Environment="KOLA_TEST=ext.p.a"',
        'Environment="KOLA_TEST_EXE=test one%%.sh"',
        'Environment="KOLA_EXT_DATA=/var/opt/kola/extdata-3"',
        'ExecStart="/usr/local/bin/kola-runext-test one%%.sh"',
    ]
    assert 'KOLA_EXT_DATA=/var/opt/kola/extdata"' in Program("a", Path('/x/$a"\\')).unit_file()
    assert 'ExecStart="/usr/local/bin/kola-runext-$$a\\"\\\\"' in Program("a", Path('/x/$a"\\')).unit_file()
