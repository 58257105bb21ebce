"""What a config takes from files beside it: contents of resources, units and keys, and whole trees."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola import ignition
from kola.errors import ConfigError
from kola.ignition.building import embedded
from kola.ignition.storage import NODE_LISTS

if TYPE_CHECKING:
    from kola.ignition.shapes import Tree
    from kola.yamlvalues import Notes

_KEEPS = {"files": "contents.source", "links": "target"}


class Files:
    """The folder that local paths of a config are relative to, if there is one."""

    def __init__(self, folder: Path | None, notes: Notes) -> None:
        self.folder = folder
        self.notes = notes

    def locate(self, name: str, path: str) -> Path | None:
        """Return where a local path leads; None, and a note, if it is not to be had."""
        if self.folder is None:
            self.notes.wrong(path, "there is no files folder that local paths could be relative to")
            return None
        found = Path(os.path.normpath(self.folder / name.lstrip("/")))
        if not found.is_relative_to(os.path.normpath(self.folder)):
            self.notes.wrong(path, f"'{name}' leads out of the files folder {self.folder}")
            return None
        return found

    def read(self, name: str, path: str) -> bytes | None:
        """Return what is in a local file; None, and a note, if it cannot be read."""
        found = self.locate(name, path)
        try:
            return None if found is None else found.read_bytes()
        except OSError as e:
            self.notes.wrong(path, f"{found}: {e.strerror}")
            return None

    def text(self, name: str, path: str) -> str | None:
        """Return the text of a local file; None, and a note, if it cannot be read."""
        data = self.read(name, path)
        try:
            return None if data is None else data.decode()
        except UnicodeDecodeError as e:
            self.notes.wrong(path, f"{name}: not UTF-8: byte {e.start} is 0x{e.object[e.start]:02x}")
            return None


def embed(resource: Tree, path: str, files: Files) -> None:
    """Put the contents of a resource (``inline``, ``local``) into a URL of its own, as small as it gets."""
    sources = [name for name in ("inline", "local", "source") if name in resource]
    inline, local = resource.pop("inline", None), resource.pop("local", None)
    if len(sources) > 1:
        files.notes.wrong(f"{path}.{sources[1]}", f"only one of {', '.join(sources)} can be given")
        return
    if not sources or sources == ["source"]:
        return
    contents = inline.encode() if inline is not None else files.read(local, f"{path}.local")
    if contents is None:
        return
    if path.startswith("ignition.config."):
        _check_config(contents, f"{path}.{sources[0]}", files.notes)
    resource.update(embedded(contents, compressed=bool(resource.get("compression"))))


def _check_config(contents: bytes, path: str, notes: Notes) -> None:
    try:
        ignition.parse(contents, "the Ignition config in it", allow_warnings=not notes.strict)
    except ConfigError as e:
        notes.wrong(path, str(e))


def fill_unit(unit: Tree, path: str, files: Files) -> None:
    """Read the contents of a unit or a drop-in."""
    local = unit.pop("contents_local", None)
    if local is None:
        return
    if "contents" in unit:
        files.notes.wrong(f"{path}.contents_local", "only one of contents, contents_local can be given")
    elif local and (text := files.text(local, f"{path}.contents_local")) is not None:
        unit["contents"] = text


def add_keys(user: Tree, path: str, files: Files) -> None:
    """Add the keys of files to those of a user."""
    names = user.pop("ssh_authorized_keys_local", [])
    for index, name in enumerate(names):
        text = files.text(name, f"{path}.ssh_authorized_keys_local[{index}]")
        keys = [line for line in re.split("\r?\n", text or "") if line]
        user["sshAuthorizedKeys"] = user.get("sshAuthorizedKeys", []) + keys


def add_trees(config: Tree, trees: list[Tree], files: Files) -> None:
    """Add everything below local folders; an entry of the config without contents gets them."""
    storage = config.setdefault("storage", {})
    for index, tree in enumerate(trees):
        path = f"storage.trees[{index}]"
        if not tree.get("local"):
            files.notes.wrong(path, "local: required, but missing")
            continue
        folder = files.locate(tree["local"], path)
        if folder is None:
            continue
        if not folder.is_dir():
            files.notes.wrong(path, f"{folder}: no such directory")
            continue
        for found in _below(folder):
            target = posixpath.join(tree.get("path") or "/", found.relative_to(folder).as_posix())
            try:
                _add_node(storage, found, target)
            except (ConfigError, OSError) as e:
                files.notes.wrong(path, str(e))


def _below(folder: Path) -> list[Path]:
    """Return all that is in a folder and is none; in the order in which Butane walks."""
    found: list[Path] = []
    for entry in sorted(folder.iterdir(), key=lambda path: path.name):
        found += _below(entry) if entry.is_dir() and not entry.is_symlink() else [entry]
    return found


def _add_node(storage: Tree, found: Path, target: str) -> None:
    mode = found.lstat().st_mode
    if stat.S_ISREG(mode):
        file = _node(storage, "files", target)
        resource = file.setdefault("contents", {})
        resource.update(embedded(found.read_bytes(), compressed=bool(resource.get("compression"))))
        file.setdefault("mode", 0o755 if mode & 0o111 else 0o644)
    elif stat.S_ISLNK(mode):
        _node(storage, "links", target)["target"] = str(found.readlink())
    else:
        raise ConfigError(f"{found} is neither a file nor a directory nor a symbolic link")


def _node(storage: Tree, kind: str, target: str) -> Tree:
    """Return the entry for a path: the config's own, if it is of that kind and has no contents, or a new one."""
    for name in NODE_LISTS:
        for entry in storage.get(name, []):
            if entry.get("path") == target:
                if name != kind or _member(entry, _KEEPS[kind]):
                    raise ConfigError(f"{target}: the config has a node there with contents, or of another kind")
                found: Tree = entry
                return found
    entry = {"path": target}
    storage.setdefault(kind, []).append(entry)
    return entry


def _member(entry: Tree, path: str) -> Any:
    value: Any = entry
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
