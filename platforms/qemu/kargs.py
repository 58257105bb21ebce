"""Kernel arguments, written into a disk before its first boot, without root and without starting anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def add(overlay: Path, always: Sequence[str], first_boot: Sequence[str]) -> None:
    raise NotImplementedError
