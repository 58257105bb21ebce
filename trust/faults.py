"""Definitions of faults: `ci/faults/NAME.toml`, or `ci/faults/NAME/fault.toml` beside a variant of the test OS."""

from __future__ import annotations

import enum
import hashlib
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILES = "files"
"""The folder beside the definitions with what scripts of theirs call."""
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_TEXTS, _LISTS = ("title", "why", "kind", "apply"), ("suites", "names", "green", "files")
KEYS = (*_TEXTS, *_LISTS)


class Kind(enum.StrEnum):
    """How a fault comes into the system."""

    LIVE = "live"
    """By a script, as root, on each machine that is up."""
    IMAGE = "image"
    """It is built into the image: a variant of the test OS."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way in which an image can be broken.

    Attributes:
        name: of the file or folder.
        title: what is broken, one line.
        why: it would block a release, one line.
        kind: how it comes into the system.
        suites: files below tests/external that should find it.
        names: regular expressions; a failure that none of them is found in does not name the fault.
        green: patterns of files below tests/external that it must not break; with `!` before it: but these.
        apply: the script of a live fault.
        files: what the script calls, below `files/`: they are in /run/kola-fault while it runs.
        source: where it is defined: a file, or the folder of a variant.
    """

    name: str
    title: str
    why: str
    kind: Kind
    suites: tuple[str, ...]
    names: tuple[str, ...]
    green: tuple[str, ...] = ()
    apply: str = ""
    files: tuple[str, ...] = ()
    source: Path

    def is_named_in(self, text: str) -> bool:
        """Tell whether a failure's text says what is broken."""
        return any(re.search(name, text) for name in self.names)

    def attachments(self) -> tuple[Path, ...]:
        """What its script calls."""
        return tuple(self.source.parent / FILES / name for name in self.files)

    def digest(self) -> str:
        """SHA-256 of all that defines it."""
        own = [self.source] if self.source.is_file() else sorted(p for p in self.source.rglob("*") if p.is_file())
        return digest_of([*own, *self.attachments()])


def digest_of(files: Iterable[Path]) -> str:
    """SHA-256 of files' names and contents."""
    whole = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        whole.update(f"{file.name} {len(content)}\n".encode() + content)
    return whole.hexdigest()


def read_faults(folder: Path) -> dict[str, Fault]:
    """Read all faults of a folder, by name.

    Raises:
        ConfigError: no such folder, nothing in it, or a definition is wrong.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    sources = [*folder.glob("*.toml"), *(path.parent for path in folder.glob("*/fault.toml"))]
    faults = [read_fault(source) for source in sorted(sources, key=lambda path: path.name)]
    if not faults:
        raise ConfigError(f"{folder}: no faults: neither NAME.toml nor NAME/fault.toml")
    if twice := {fault.name for fault in faults if sum(fault.name == other.name for other in faults) > 1}:
        raise ConfigError(f"{folder}: defined as a file and as a folder: {', '.join(sorted(twice))}")
    return {fault.name: fault for fault in faults}


def read_fault(source: Path) -> Fault:
    """Read one fault.

    Args:
        source: its file, or its folder.

    Raises:
        ConfigError: it cannot be read, or is wrong: file, key, what is allowed.
    """
    file = source / "fault.toml" if source.is_dir() else source
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(f"{file}: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{file}: {e}") from e
    name = source.name if source.is_dir() else source.stem
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{file}: {name!r} is no name for a fault: small letters, digits and '-' only")
    _check(file, values)
    fault = Fault(
        name=name,
        title=values["title"],
        why=values["why"],
        kind=Kind(values["kind"]),
        source=source,
        apply=values.get("apply", ""),
        **{key: tuple(values.get(key, ())) for key in _LISTS},
    )
    _check_kind(file, fault)
    return fault


def _check(file: Path, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if key not in KEYS:
            raise ConfigError(f"{file}: unknown key '{key}'; allowed: {', '.join(KEYS)}")
        if key in _TEXTS and not (isinstance(value, str) and value.strip()):
            raise ConfigError(f"{file}: {key} = {value!r}: expected a text")
        if key in _LISTS and not (isinstance(value, list) and all(isinstance(item, str) and item for item in value)):
            raise ConfigError(f"{file}: {key} = {value!r}: expected a list of texts")
    if missing := [key for key in ("title", "why", "kind", "suites", "names") if not values.get(key)]:
        raise ConfigError(f"{file}: missing or empty: {', '.join(missing)}")
    if values["kind"] not in set(Kind):
        raise ConfigError(f"{file}: kind = {values['kind']!r}: allowed: {', '.join(Kind)}")
    for pattern in values["names"]:
        try:
            found = re.search(pattern, "")
        except re.error as e:
            raise ConfigError(f"{file}: names: {pattern!r} is no regular expression: {e}") from e
        if found:
            raise ConfigError(f"{file}: names: {pattern!r} is found in any text")


def _check_kind(file: Path, fault: Fault) -> None:
    folder = fault.source.is_dir()
    if (fault.kind is Kind.IMAGE) != folder:
        raise ConfigError(f"{file}: kind = '{fault.kind}': a live fault is a file NAME.toml, one of the image a folder")
    if folder and not (fault.source / "variant.toml").is_file():
        raise ConfigError(f"{file}: there is no variant.toml beside it: what it changes of the test OS")
    if fault.kind is Kind.LIVE and not fault.apply:
        raise ConfigError(f"{file}: a live fault needs 'apply', a script")
    if folder and (fault.apply or fault.files):
        raise ConfigError(f"{file}: 'apply' and 'files' are for live faults; this one is in the image")
    if missing := [str(path) for path in fault.attachments() if not path.is_file()]:
        raise ConfigError(f"{file}: files: not there: {', '.join(missing)}")


def check_suites(faults: Iterable[Fault], external: Path) -> None:
    """See to it that the faults name suites that there are.

    Args:
        faults: to be checked.
        external: the folder of the suites.

    Raises:
        ConfigError: a fault names one that is not there.
    """
    for fault in faults:
        for suite in fault.suites:
            if not (external / suite).is_file():
                raise ConfigError(f"{fault.source}: suites: there is no {external / suite}")
