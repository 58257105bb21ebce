"""The connection to libvirt, as far as it needs none."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from kola.errors import ConfigError
from platforms.qemu import link
from platforms.qemu.binding import libvirt
from platforms.qemu.link import Link
from platforms.qemu.options import EMBED


@pytest.mark.parametrize("folder", ["a b", "ä", "a#b", "a%41b", "a&b", "a+b", "a?b;c"])
def test_the_scratch_folder_may_have_any_name(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """That libvirt (9.0) reads them from the URI so was seen, with each of these; here it is not asked."""
    opened: list[str] = []
    monkeypatch.setattr(link, "start_event_loop", lambda: None)
    monkeypatch.setattr(libvirt, "open", opened.append)
    monkeypatch.setattr(link, "_SOCKET_LIMIT", 1000)
    scratch = tmp_path_factory.mktemp("s") / folder
    scratch.mkdir()
    of_this_process = Link(EMBED, scratch, tmp_path_factory.mktemp("c"))  # its folder goes with it
    of_this_process.connection()
    (uri,) = opened
    parts = urlsplit(uri)
    assert (parts.scheme, parts.path, parts.fragment) == ("qemu", "/embed", "")
    assert uri.isascii()
    assert " " not in uri
    (root,) = parse_qs(parts.query, strict_parsing=True)["root"]
    assert Path(root).parent == scratch
    assert Path(root, "etc/qemu.conf").is_file()


def test_the_length_of_its_path_is_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what a socket's path has room for."""
    monkeypatch.setattr(link, "start_event_loop", lambda: None)
    monkeypatch.setattr(libvirt, "open", lambda uri: uri)
    monkeypatch.setattr(link, "_SOCKET_LIMIT", len(str(tmp_path)) + link._SOCKET_TAIL + 30)
    (tmp_path / ("a" * 15)).mkdir()
    Link(EMBED, tmp_path / ("a" * 15), tmp_path / "cache").connection()
    scratch = tmp_path / ("ä" * 15)
    scratch.mkdir()
    with pytest.raises(ConfigError, match=rf"has a path of {len(str(tmp_path)) + 31} bytes; .* allow at most \d+: set"):
        Link(EMBED, scratch, tmp_path / "cache").connection()
    assert list(scratch.iterdir()) == []
