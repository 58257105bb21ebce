"""libvirt's Python binding, kept from writing its log to stderr: every module here imports it from this one.

libvirt reads where its log goes when it is loaded; what it would write is raised as an error anyway.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["libvirt", "libvirt_qemu"]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    name = "LIBVIRT_LOG_OUTPUTS"
    if name in os.environ:  # someone wants to see it
        yield
        return
    os.environ[name] = "4:file:/dev/null"
    try:
        yield
    finally:
        del os.environ[name]  # not for the processes that this one starts


with _quiet():
    import libvirt
    import libvirt_qemu
