"""Machines on this host: QEMU, driven through libvirt."""

from __future__ import annotations

from platforms.qemu.driver import Qemu

PLATFORM = Qemu
