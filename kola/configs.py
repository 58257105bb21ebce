"""A machine's config in a file, in either of its two languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kola import butane, ignition

if TYPE_CHECKING:
    from pathlib import Path


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
