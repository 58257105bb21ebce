"""A config as a value: reading, writing, and the versions that it declares and needs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError
from kola.ignition.schema import CONFIG, LATEST_MINOR
from kola.ignition.shapes import Tree, cleaned, findings, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSIONS = tuple(f"3.{minor}.0" for minor in range(LATEST_MINOR + 1))
_SHOWN_FINDINGS = 5


@dataclass(frozen=True)
class Config:
    """A valid Ignition config.

    Attributes:
        tree: the JSON document; never modified, every change makes another Config.
        source: where it came from, for messages.
    """

    tree: Tree
    source: str = "config"

    @property
    def version(self) -> str:
        """The spec version that it declares, such as ``3.4.0``."""
        return str(self.tree["ignition"]["version"])


def empty(version: str = VERSIONS[0]) -> Config:
    """Return a config that does nothing.

    Raises:
        ConfigError: the version is unknown.
    """
    return checked({"ignition": {"version": version}}, "config")


def parse(text: bytes | str, source: str = "config", *, allow_warnings: bool = False) -> Config:
    """Read a config of any 3.x version and check it as far as its structure goes.

    Stricter than Ignition: what Ignition accepts with a warning is refused (unless ``allow_warnings``), and so are
    keys given twice, keys in another case, and damaged hashes or names that only fail later on the machine.

    Args:
        text: JSON in UTF-8.
        source: names the config in messages, such as a file's path.
        allow_warnings: accept what Ignition only warns of. What Ignition ignores is then left out.

    Raises:
        ConfigError: one line with the source, the place (line and column, or a path such as ``storage.files[0].mode``)
            and what would be right.
    """
    try:
        tree = json.loads(
            text.decode() if isinstance(text, bytes) else text,
            object_pairs_hook=without_repetition,
            parse_constant=no_constant,
        )
        json.dumps(tree, ensure_ascii=False).encode()
        return checked(tree, source, allow_warnings=allow_warnings)
    except UnicodeDecodeError as e:
        raise ConfigError(f"{source}: not UTF-8: byte {e.start} is 0x{e.object[e.start]:02x}") from e
    except UnicodeEncodeError as e:
        raise ConfigError(f"{source}: contains \\u{ord(e.object[e.start]):04x}, which is half a character") from e
    except json.JSONDecodeError as e:
        raise ConfigError(f"{source}: line {e.lineno}, column {e.colno}: not JSON: {e.msg}") from e
    except RecursionError as e:
        raise ConfigError(f"{source}: nested too deeply for any Ignition config") from e
    except ValueError as e:  # of our two hooks; those above are ValueErrors too
        raise ConfigError(f"{source}: {e}") from e


def checked(tree: Any, source: str, *, allow_warnings: bool = False) -> Config:
    """Make a Config of a JSON document, as ``parse`` does of its text.

    Raises:
        ConfigError: as ``parse``.
    """
    minor = _minor_of(_declared_version(tree, source), source)
    tree = cleaned(CONFIG, tree, minor if allow_warnings else None)
    wrong = []
    for finding in findings(CONFIG, tree):
        if finding.minor is not None and finding.minor <= minor:
            continue
        if finding.warning and allow_warnings:
            continue
        needs = finding.minor is not None
        text = f"{finding.text} needs Ignition spec 3.{finding.minor}.0, but this config says 3.{minor}.0"
        wrong.append(f"{finding.path}: {text if needs else finding.text}")
    if wrong:
        more = len(wrong) - _SHOWN_FINDINGS
        raise ConfigError(f"{source}: {'; '.join(wrong[:_SHOWN_FINDINGS])}{f'; and {more} more' if more > 0 else ''}")
    return Config(tree, source)


def required_version(config: Config) -> str:
    """Return the lowest spec version that has everything the config uses, whatever it declares."""
    return VERSIONS[max((finding.minor or 0 for finding in findings(CONFIG, config.tree)), default=0)]


def highest(versions: Sequence[str]) -> str:
    """Return the highest of some known spec versions."""
    return max(versions, key=VERSIONS.index)


def with_version(config: Config, version: str) -> Config:
    """Return the config declaring another version."""
    return replace(config, tree={**config.tree, "ignition": {**config.tree["ignition"], "version": version}})


def too_new_for(config: Config, image_max: str | None) -> str | None:
    """Say why an image cannot use a config, as a reason to skip; None if it can.

    Args:
        config: what the machine would get.
        image_max: the highest spec version that the image understands; None if unknown, then all is assumed.

    Raises:
        ConfigError: ``image_max`` is no version.
    """
    if image_max is None:
        return None
    match = re.fullmatch(r"(\d+)\.(\d+)\.\d+(-\w+)?", image_max)
    if match is None:
        raise ConfigError(f"the image's highest Ignition version is '{image_max}', not of the form 3.N.0")
    if (3, VERSIONS.index(config.version)) <= (int(match[1]), int(match[2])):
        return None
    return f"the config ({config.source}) needs Ignition spec {config.version}, the image understands up to {image_max}"


def needs_tpm(config: Config) -> bool:
    """Tell whether a machine needs a TPM 2.0 for its config: a LUKS volume is bound to it."""
    volumes = config.tree.get("storage", {}).get("luks", [])
    return any((volume.get("clevis") or {}).get("tpm2") for volume in volumes)


def serialise(config: Config) -> bytes:
    """Return the config as compact JSON; equal configs give equal bytes."""
    return json.dumps(config.tree, separators=(",", ":"), sort_keys=True).encode()


def size(config: Config) -> int:
    """Return the number of bytes that a machine is handed."""
    return len(serialise(config))


def _declared_version(tree: Any, source: str) -> str:
    if not isinstance(tree, dict):
        raise ConfigError(f"{source}: expected a JSON object with the key 'ignition', found {kind_of(tree)}")
    section = tree.get("ignition")
    if not isinstance(section, dict):
        found = "it is missing" if section is None else f"found {kind_of(section)}"
        raise ConfigError(f"{source}: ignition: expected an object with the key 'version', {found}")
    version = section.get("version")
    if not isinstance(version, str):
        found = "it is missing" if version is None else f"found {kind_of(version)}"
        raise ConfigError(f"{source}: ignition.version: expected one of {', '.join(VERSIONS)}; {found}")
    return version


def _minor_of(version: str, source: str) -> int:
    if version in VERSIONS:
        return VERSIONS.index(version)
    if version.endswith("-experimental"):
        why = " (an experimental version is understood by a few releases of Ignition only)"
    elif re.match(r"[12]\.", version):
        why = " (specs 1 and 2 are of Ignition before Fedora CoreOS)"
    else:
        why = ""
    raise ConfigError(f"{source}: ignition.version: '{version}' is none of {', '.join(VERSIONS)}{why}")


def without_repetition(pairs: list[tuple[str, Any]]) -> Tree:
    """Make a JSON object; as ``object_pairs_hook``.

    Raises:
        ValueError: a key is given twice.
    """
    found: Tree = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key '{name}' is given twice in one object")
        found[name] = value
    return found


def no_constant(name: str) -> Any:
    """Refuse what Python takes for JSON; as ``parse_constant``.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"not JSON: {name}")
