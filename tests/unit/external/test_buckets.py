"""Which tests share a machine, what they need, and the units they run in."""

from __future__ import annotations

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
from kola.spec import Disk, Nic


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
        "a", min_memory=4096, min_disk=15, additional_nics=2, additional_disks=("5G", "2"), append_kernel_args="a b=c",
        append_firstboot_kernel_args="d", timeout_min=8, tags=("x", "skip-base-checks"), platforms=("qemu",),
    )  # fmt: skip
    needs = test.needs("x86_64", {"avc-denial"})
    assert (needs.spec.memory_mib, needs.spec.disk_gib, needs.spec.nics) == (4096, 15, (Nic(), Nic()))
    assert needs.spec.disks == (Disk(5), Disk(2))
    assert (needs.spec.kernel_args, needs.spec.first_boot_kernel_args) == (("a", "b=c"), ("d",))
    assert (needs.tags, needs.platforms) == (("external", "x", "skip-base-checks"), ("qemu",))
    assert set(needs.skip_checks) == {"avc-denial"}
    assert test.minutes == 8
    assert (made("a").minutes, shared("a").minutes) == (10, 1)
    with pytest.raises(ConfigError, match="disk 'large': expected a size in GiB, such as 5G"):
        made("a", additional_disks=("large",)).needs("x86_64", ())


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
        ({"primary_disk": "20G:mpath"}, "qemu", "", "kola cannot do this yet: options of disks"),
        ({"primary_disk": "20G"}, "qemu", "", ""),
        ({"boot_from": "iso", "numa_nodes": True}, "qemu", "", "kola cannot do this yet: numaNodes, bootFrom"),
        ({"tags": ("secure-boot",)}, "qemu", "", "kola cannot do this yet: tag secure-boot"),
    ],
)
def test_cannot_run(metadata: dict[str, object], platform: str, distro: str, why: str) -> None:
    assert cannot_run(Metadata(**metadata), platform=platform, distro=distro) == why  # type: ignore[arg-type]


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
