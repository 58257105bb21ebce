import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from builder.definition import Definition
from builder.keys import files_digest
from builder.stages import STAGES, keys, version


@pytest.fixture
def definition(tmp_path: Path) -> Definition:
    """The real definition on a copy of its folders, so that they can be changed."""
    default = Definition()
    for name in ("overlay", "initramfs", "policy", "boot"):
        shutil.copytree(default.boot.parent / name, tmp_path / name, symlinks=True)
    return replace(
        default,
        overlays=(tmp_path / "overlay",),
        initramfs=tmp_path / "initramfs",
        policy=tmp_path / "policy",
        boot=tmp_path / "boot",
    )


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_the_same_definition_gives_the_same_keys(definition: Definition) -> None:
    assert keys(definition) == keys(definition) == keys(Definition())


def test_a_changed_overlay_file_changes_the_commit_and_the_disk_only(definition: Definition) -> None:
    before = keys(definition)
    (definition.overlays[0] / "etc/environment").write_text("A=b\n")
    assert changed(before, keys(definition)) == {"commit", "disk"}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("initramfs/dracut.conf", {"initramfs", "commit", "disk"}),
        ("policy/modules/testos.cil", {"policy", "commit", "disk"}),
        ("boot/grub.cfg", {"disk"}),
        ("boot/core.cfg", {"grub", "disk"}),
    ],
)
def test_a_changed_file_changes_its_stage_and_those_after_it(
    definition: Definition, tmp_path: Path, file: str, expected: set[str]
) -> None:
    before = keys(definition)
    with (tmp_path / file).open("a") as opened:
        opened.write("\n")
    assert changed(before, keys(definition)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"packages": ("podman",)}, {"root", "initramfs", "policy", "commit", "disk"}),
        ({"grub_suite": "sid"}, {"grub", "disk"}),
        ({"masked_units": ("a.service",)}, {"commit", "disk"}),
        ({"kernel_arguments": ("$ignition_firstboot", "quiet")}, {"disk"}),
        ({"capabilities": ()}, {"disk"}),
    ],
)
def test_a_changed_value_changes_its_stage_and_those_after_it(
    definition: Definition, change: dict[str, object], expected: set[str]
) -> None:
    after = keys(replace(definition, **change))  # type: ignore[arg-type]
    assert changed(keys(definition), after) == expected


def test_every_value_of_the_definition_belongs_to_a_stage() -> None:
    folders = {"overlays", "initramfs", "policy", "boot"}
    used = {value for stage in STAGES for value in stage.values}
    assert used | folders == set(Definition.__dataclass_fields__)


def test_the_digest_sees_names_modes_links_and_contents(tmp_path: Path) -> None:
    seen = [files_digest([tmp_path])]

    def differs() -> bool:
        seen.append(files_digest([tmp_path]))
        return seen[-1] not in seen[:-1]

    file = tmp_path / "a"
    file.write_text("one")
    assert differs()
    file.write_text("two")
    assert differs()
    file.chmod(0o755)
    assert differs()
    file.rename(tmp_path / "b")
    assert differs()
    (tmp_path / "link").symlink_to("b")
    assert differs()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("elsewhere")
    assert differs()
    (tmp_path / "empty").mkdir()
    assert differs()


def test_the_version_follows_the_commit(definition: Definition) -> None:
    assert version(definition, {"commit": "0000ff0000"}) == "1.255"
    assert version(replace(definition, major=2), {"commit": "0000ff0000"}) == "2.255"
