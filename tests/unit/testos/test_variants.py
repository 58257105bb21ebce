from pathlib import Path

import pytest
from builder.definition import Definition
from builder.errors import BuildError
from builder.plan import plan
from builder.variants import VARIANTS, releases, with_variant


def variant(folder: Path, text: str) -> str:
    folder.mkdir(parents=True)
    (folder / "variant.toml").write_text(text)
    return str(folder)


def test_each_release_is_the_one_before_with_its_changes() -> None:
    first, second, third = releases()
    assert (first.release, second.release, third.release) == (1, 2, 3)
    assert first == Definition()
    assert second.kernel_suite == third.kernel_suite != first.kernel_suite
    assert third.overlays[: len(second.overlays)] == second.overlays != first.overlays


@pytest.mark.parametrize("name", sorted(path.name for path in VARIANTS.iterdir()))
def test_the_variants_of_this_repository_can_be_planned(name: str) -> None:
    series = with_variant(releases(), name)
    assert series[0].name == f"testos-{name}"
    assert plan(series)[-1].key != plan(releases())[-1].key


def test_a_variant_changes_its_release_alone(tmp_path: Path) -> None:
    series = releases()
    found = with_variant(series, variant(tmp_path / "bad", "release = 2\nmasked_units = ['sshd.service']\n"))
    assert found[1].masked_units == (*series[1].masked_units, "sshd.service")
    assert found[0].masked_units == series[0].masked_units
    assert found[2] == series[2]
    assert found[0].name == "testos-bad"


def test_lists_are_added_to_and_taken_from_and_folders_are_found(tmp_path: Path) -> None:
    wanted = variant(tmp_path / "one", "packages = ['vim']\nwithout_packages = ['podman']\nremoved = ['usr/bin/jq']\n")
    for name in ("overlay", "policy"):
        (tmp_path / "one" / name).mkdir()
    (tmp_path / "one/configure").write_text("#!/bin/sh\n")
    first = with_variant(releases(), wanted)[0]
    assert first.packages[-1] == "vim"
    assert "podman" not in first.packages
    assert first.removed == ("usr/bin/jq",)
    assert first.overlays[-1] == tmp_path / "one/overlay"
    assert first.policy_modules[-1] == tmp_path / "one/policy"
    assert first.scripts == (tmp_path / "one/configure",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("packges = ['vim']", "unknown key 'packges'; allowed: description, release"),
        ("packages = 'vim'", "packages = 'vim': expected strings"),
        ("release = 'two'", "release = 'two': expected a number"),
        ("release = 4", "release = 4: allowed: 1 to 3"),
        ("kernel_suite = 1", "kernel_suite = 1: expected a string"),
        ("without_packages = ['vim']", "without_packages: not there: vim"),
        ("packages = [", "variant.toml: "),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        with_variant(releases(), variant(tmp_path / "bad", text))


def test_an_unknown_variant_names_those_that_there_are() -> None:
    with pytest.raises(BuildError, match=r"no variant 'dokcer': .*known: docker"):
        with_variant(releases(), "dokcer")
