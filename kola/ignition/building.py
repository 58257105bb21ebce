"""Adding to a config: each function returns a new one, valid, that declares no newer version than it needs."""

from __future__ import annotations

import base64
import gzip
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kola.ignition.merging import merge
from kola.ignition.model import VERSIONS, Config, checked, required_version, with_version
from kola.ignition.storage import NODE_LISTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kola.ignition.shapes import Tree

GZIP_FROM = 2048
"""Contents of at least so many bytes are compressed if that makes the URL shorter."""
Owner = str | int


def add_user(config: Config, name: str, *, ssh_keys: Iterable[str] = (), groups: Iterable[str] = ()) -> Config:
    """Add a user, or add to the one of that name; keys and groups that are already there stay.

    Raises:
        ConfigError: as all functions here: the addition is not valid, or not together with the config.
    """
    user = _given(name=name, sshAuthorizedKeys=list(ssh_keys), groups=list(groups))
    return _with(config, f"user {name}", {"passwd": {"users": [user]}})


def add_file(
    config: Config,
    path: str,
    contents: str | bytes,
    *,
    mode: int = 0o644,
    overwrite: bool = False,
    user: Owner | None = None,
    group: Owner | None = None,
) -> Config:
    """Add a file; whatever the config had at this path is replaced altogether.

    Args:
        config: what to add to.
        path: absolute.
        contents: what the file holds; text is written as UTF-8.
        mode: permissions; setuid, setgid and sticky bit need spec 3.6.0.
        overwrite: replace what the image has at this path (without it, Ignition fails if there is something).
        user: owner, by name or number; None: root.
        group: as ``user``.
    """
    file = _given(
        path=path,
        mode=mode,
        contents=embedded(contents),
        overwrite=overwrite or None,
        user=_owner(user),
        group=_owner(group),
    )
    return _with(_without_node(config, path), f"file {path}", {"storage": {"files": [file]}})


def add_directory(
    config: Config, path: str, *, mode: int = 0o755, user: Owner | None = None, group: Owner | None = None
) -> Config:
    """Add a directory; whatever the config had at this path is replaced altogether."""
    directory = _given(path=path, mode=mode, user=_owner(user), group=_owner(group))
    return _with(_without_node(config, path), f"directory {path}", {"storage": {"directories": [directory]}})


def add_link(config: Config, path: str, target: str, *, hard: bool = False, overwrite: bool = False) -> Config:
    """Add a link at ``path``; whatever the config had there is replaced altogether."""
    link = _given(path=path, target=target, hard=hard or None, overwrite=overwrite or None)
    return _with(_without_node(config, path), f"link {path}", {"storage": {"links": [link]}})


def add_unit(
    config: Config,
    name: str,
    contents: str | None = None,
    *,
    enabled: bool | None = None,
    mask: bool | None = None,
    dropins: Mapping[str, str] | None = None,
) -> Config:
    """Add a systemd unit, or add to the one of that name: what is given wins, drop-ins are merged by name.

    Args:
        config: what to add to.
        name: with suffix.
        contents: the unit file; None leaves it alone (a unit of the image).
        enabled: True needs an [Install] section.
        mask: True links it to /dev/null.
        dropins: file name (``*.conf``) -> contents.
    """
    files = [{"name": file, "contents": text} for file, text in sorted((dropins or {}).items())]
    unit = _given(name=name, contents=contents, enabled=enabled, mask=mask, dropins=files)
    return _with(config, f"unit {name}", {"systemd": {"units": [unit]}})


def add_kernel_args(config: Config, *args: str, remove: Iterable[str] = ()) -> Config:
    """Make Ignition add and remove kernel arguments (with a reboot if they were not so); needs spec 3.3.0."""
    arguments = _given(shouldExist=list(args), shouldNotExist=list(remove))
    return _with(config, "kernel arguments", {"kernelArguments": arguments}) if arguments else config


def data_url(contents: bytes) -> str:
    """Return the shorter of the two encodings of a data URL."""
    # Ignition wants everything escaped that RFC 2396 does not count as unreserved; '/' and '=' are allowed as well.
    percent = "data:," + quote(contents, safe="/=:;,?@&+$!*'()")
    encoded = "data:;base64," + base64.b64encode(contents).decode()
    return percent if len(percent) <= len(encoded) else encoded


def embedded(contents: str | bytes, *, compressed: bool = False) -> Tree:
    """Return the members of a resource that holds its contents itself.

    Args:
        contents: text is UTF-8.
        compressed: they are compressed already, and the resource says so.
    """
    data = contents.encode() if isinstance(contents, str) else contents
    plain = data_url(data)
    if compressed:
        return {"source": plain}
    if len(data) >= GZIP_FROM:
        packed = data_url(gzip.compress(data, mtime=0))
        if len(packed) < len(plain):
            return {"source": packed, "compression": "gzip"}
    # Said explicitly because a merge would otherwise keep the compression of a parent's file.
    return {"source": plain, "compression": ""}


def _owner(who: Owner | None) -> Tree | None:
    if who is None:
        return None
    return {"id": who} if isinstance(who, int) else {"name": who}


def _given(**members: Any) -> Tree:
    """Return the members that say something; False and 0 do."""
    return {name: value for name, value in members.items() if value is not None and value != []}


def _without_node(config: Config, path: str) -> Config:
    storage = dict(config.tree.get("storage", {}))
    for name in NODE_LISTS:
        if any(node["path"] == path for node in storage.get(name, [])):
            storage[name] = [node for node in storage[name] if node["path"] != path]
    return replace(config, tree={**config.tree, "storage": storage}) if storage else config


def _with(config: Config, what: str, addition: Tree) -> Config:
    newest = {**addition, "ignition": {"version": VERSIONS[-1]}}
    child = checked(newest, f"{what} added to {config.source}")
    child = with_version(child, required_version(child))
    return replace(merge(config, child), source=config.source)
