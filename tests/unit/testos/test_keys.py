import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from builder.definition import Definition
from builder.keys import files_digest
from builder.plan import plan
from builder.stages import STAGES


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
        policy_modules=(tmp_path / "policy/modules",),
        boot=tmp_path / "boot",
    )


def keys(*releases: Definition) -> dict[str, str]:
    """Key of every step, by stage and release."""
    return {step.stage.name + "+" * (step.definition.release - 1): step.key for step in plan(releases)}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_the_same_definition_gives_the_same_keys(definition: Definition) -> None:
    assert keys(definition) == keys(definition) == keys(Definition())


def test_a_changed_overlay_file_changes_the_commit_and_the_disk_only(definition: Definition) -> None:
    before = keys(definition)
    (definition.overlays[0] / "etc/environment").write_text("A=b\n")
    assert changed(before, keys(definition)) == {"commit", "disk", "updates", "image"}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("initramfs/dracut.conf", {"initramfs", "commit", "disk", "updates", "image"}),
        ("policy/modules/testos.cil", {"policy", "commit", "disk", "updates", "image"}),
        ("boot/grub.cfg", {"disk", "image"}),
        ("boot/core.cfg", {"grub", "disk", "image"}),
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
        ({"packages": ("podman",)}, {stage.name for stage in STAGES} - {"grub"}),
        ({"kernel_suite": "sid"}, {"kernel", "initramfs", "commit", "disk", "updates", "image"}),
        ({"grub_suite": "sid"}, {"grub", "disk", "image"}),
        ({"masked_units": ("a.service",)}, {"commit", "disk", "updates", "image"}),
        ({"kernel_arguments": ("$ignition_firstboot", "quiet")}, {"disk", "image"}),
        ({"capabilities": ()}, {"image"}),
    ],
)
def test_a_changed_value_changes_its_stage_and_those_after_it(
    definition: Definition, change: dict[str, object], expected: set[str]
) -> None:
    after = keys(replace(definition, **change))  # type: ignore[arg-type]
    assert changed(keys(definition), after) == expected


def test_every_value_of_the_definition_belongs_to_a_stage() -> None:
    folders = {"overlays", "scripts", "initramfs", "policy", "policy_modules", "boot"}
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


def test_the_version_is_the_releases_and_follows_the_key(definition: Definition) -> None:
    (commit,) = (step for step in plan([replace(definition, release=2)]) if step.stage.name == "commit")
    assert commit.version == f"2.{int(commit.key[:6], 16)}"


def test_releases_share_what_they_agree_in(definition: Definition, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a").write_text("a")
    second = replace(definition, release=2, overlays=(*definition.overlays, tmp_path / "more"))
    steps = plan([definition, second])
    names = [step.stage.name for step in steps]
    assert names.count("commit") == 2
    assert names.count("root") == names.count("kernel") == names.count("initramfs") == names.count("policy") == 1
    assert names[-1] == "image"


def test_a_later_release_does_not_touch_the_disk(definition: Definition) -> None:
    second = replace(definition, release=2, masked_units=())
    other = replace(second, masked_units=("a.service",))
    assert changed(keys(definition, second), keys(definition, other)) == {"commit+", "updates", "image"}


def test_every_step_runs_after_what_it_needs(definition: Definition) -> None:
    done: set[str] = set()
    for step in plan([definition, replace(definition, release=2, kernel_suite="sid")]):
        assert {one.key for one in step.inputs.values()} <= done
        done.add(step.key)
