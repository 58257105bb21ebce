"""The pieces that a domain's description is made of: XML elements for libvirt, arguments for QEMU. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from pathlib import Path


def node(tag: str, *children: ET.Element, **attributes: str) -> ET.Element:
    """Return an element with others in it."""
    element = ET.Element(tag, attributes)
    element.extend(children)
    return element


def text(tag: str, content: str, **attributes: str) -> ET.Element:
    """Return an element with text in it."""
    element = ET.Element(tag, attributes)
    element.text = content
    return element


def escaped(path: Path) -> str:
    """Return a path as the value of a QEMU option."""
    return str(path).replace(",", ",,")
