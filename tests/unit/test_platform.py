from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kola.arch import get_arch
from kola.errors import ConfigError
from kola.platform import Platform, Scope, load_platform, parse_options, platform_names
from kola.spec import Capability


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope("someone", "ab1"), True),
        (Scope("other", "ab1"), False),
        (Scope("someone", "ab2"), False),
        (Scope("someone", "ab1", "gw0"), True),
        (Scope("someone", "ab1", "gw1"), False),
        (Scope("someone", older_than=50.0), True),
        (Scope("someone", older_than=200.0), False),
        (Scope("someone", "ab1", keep=frozenset({"kola-ab1-gw0-1"})), False),
    ],
)
def test_what_a_sweep_may_touch(scope: Scope, expected: bool) -> None:  # noqa: FBT001 - a parameter of the test
    tags = {"name": "kola-ab1-gw0-1", "owner": "someone", "run_id": "ab1", "worker": "gw0"}
    assert scope.covers(**tags, age=100.0) is expected


def test_a_sweep_of_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"run_id.*older_than"):
        Scope("someone")


@dataclass(frozen=True)
class Options:
    uri: str = "here"
    retries: int = 3
    strict: bool = False


class Toy(Platform):
    name: ClassVar[str] = "toy"
    Options: ClassVar[type[Any]] = Options


TOY: Any = Toy  # it is never made


def test_options_from_pairs_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "toy.toml"
    file.write_text('uri = "there"\nretries = 5\n')
    assert parse_options(TOY, []) == Options()
    assert parse_options(TOY, [str(file), "retries=7", "strict=yes"]) == Options("there", 7, strict=True)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("urii=x", "-P urii: unknown option of platform 'toy'; valid: retries, strict, uri"),
        ("retries=many", "-P retries=many: expected a number"),
        ("strict=perhaps", "-P strict=perhaps: expected true or false"),
        ("uri", "-P uri: expected key=value or a .toml file"),
        ("none.toml", "-P none.toml: No such file or directory"),
    ],
)
def test_bad_options(pair: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(TOY, [pair])
    assert str(caught.value) == message


def test_a_broken_options_file(tmp_path: Path) -> None:
    file = tmp_path / "toy.toml"
    for content, message in (
        (b"uri = there", "toml: .*line 1"),
        (b'uri = "\xff"', "toml: byte 7 is not UTF-8"),
    ):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            parse_options(TOY, [str(file)])


def test_platforms_are_found_by_name_and_by_path() -> None:
    assert platform_names() == ["aws", "azure", "gcp", "qemu"]
    assert load_platform(f"{__name__}:Toy") is Toy


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("qemmu", "unknown platform 'qemmu'; known: aws, azure, gcp, qemu, or package.module:Class"),
        ("no.such.module:Class", "platform 'no.such.module:Class': no module 'no.such.module'"),
        ("pathlib:Path", "platform 'pathlib:Path': pathlib.Path is not a kola Platform"),
    ],
)
def test_unknown_platforms(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_platform(name)
    assert str(caught.value) == message


def test_who_offers_the_hosts_services_says_where_they_are() -> None:
    for platform in map(load_platform, platform_names()):
        assert (Capability.HOST_SERVICES in platform.capabilities) == bool(platform.host_address)


def test_the_platform_of_the_docs_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs/platforms.md").read_text()
    (tmp_path / "lab_of_the_docs.py").write_text(page.split("```python\n")[1].split("```")[0])
    monkeypatch.syspath_prepend(tmp_path)
    found = load_platform("lab_of_the_docs:Lab")
    options = parse_options(found, ["machine-type=large"])
    assert options.machine_type == "large"
    context: Any = None
    found(options, get_arch("x86_64"), context)  # nothing is missing
