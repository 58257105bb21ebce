"""Configs in files, in either of their two languages: a machine's, and what a run adds to all of its machines'."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from kola import butane, ignition
from kola.errors import ConfigError
from kola.ignition_validate import validate_with_tool

if TYPE_CHECKING:
    from pathlib import Path

_SERVICE = re.compile(r"[A-Za-z0-9:_.\\@-]+\.service")


def read_config(path: Path, *, is_butane: bool, allow_warnings: bool = False) -> ignition.Config:
    """Read a config; local paths of Butane are relative to its folder.

    Raises:
        OSError: the file cannot be read.
        ConfigError: it is wrong; names the file, and the line or the path in it.
    """
    text = path.read_bytes()
    if is_butane:
        return butane.translate(text, str(path), files=path.parent, allow_warnings=allow_warnings)
    return ignition.parse(text, str(path), allow_warnings=allow_warnings)


@dataclass(frozen=True)
class Additions:
    """What the config of every machine of a run is merged with; of these the last one wins, and over the test's own.

    Attributes:
        butane_files: come first.
        ignition_files: come after those in Butane.
        debug_units: names of services in which systemd's own programs shall log in full.
    """

    butane_files: tuple[Path, ...] = ()
    ignition_files: tuple[Path, ...] = ()
    debug_units: tuple[str, ...] = ()

    def read(self) -> ignition.Config | None:
        """Return all of it as one config; None if there is nothing.

        Raises:
            ConfigError: a file cannot be read or is wrong, or a name is none of a service; names it.
        """
        configs = [
            *(read_given("--append-butane", path, is_butane=True) for path in self.butane_files),
            *(read_given("--append-ignition", path, is_butane=False) for path in self.ignition_files),
            *(_with_debug(name) for name in self.debug_units),
        ]
        return reduce(ignition.merge, configs) if configs else None


def read_given(flag: str, path: Path, *, is_butane: bool) -> ignition.Config:
    """Read a config that a user gave on the command line.

    Raises:
        ConfigError: as ``read_config``, or it cannot be read; names the flag.
    """
    try:
        config = read_config(path, is_butane=is_butane)
    except OSError as e:
        raise ConfigError(f"{flag} {path}: {e.strerror}") from e
    except ConfigError as e:
        raise ConfigError(f"{flag}: {e}") from e
    validate_with_tool(ignition.serialise(config), config.source)
    return config


def _with_debug(name: str) -> ignition.Config:
    if not _SERVICE.fullmatch(name):
        raise ConfigError(f"--debug-systemd-unit '{name}': expected the whole name of a service: NAME.service")
    dropin = {"10-debug.conf": "[Service]\nEnvironment=SYSTEMD_LOG_LEVEL=debug\n"}
    return ignition.add_unit(ignition.empty(), name, dropins=dropin)
