"""Content keys: the hash of everything a stage's result depends on (pure)."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

HEX_DIGITS = 16


def files_digest(paths: Iterable[Path]) -> str:
    """One hash over files and folders: relative names, the executable bit, links as links, contents."""
    digest = hashlib.sha256()
    for top in paths:
        members = sorted(top.rglob("*")) if top.is_dir() else [top]
        for path in members:
            if "__pycache__" in path.parts:
                continue
            name = path.relative_to(top) if path != top else Path(path.name)
            if path.is_symlink():
                record = ["link", str(name), str(path.readlink())]
            elif path.is_dir():
                record = ["dir", str(name)]
            else:
                executable = bool(path.stat().st_mode & 0o100)
                record = ["file", str(name), str(executable), hashlib.sha256(path.read_bytes()).hexdigest()]
            digest.update(json.dumps(record).encode())
    return digest.hexdigest()


def stage_key(stage: str, *, values: Mapping[str, object], files: Iterable[Path], inputs: Mapping[str, str]) -> str:
    """The key of one stage: its values, the content of its files, and the keys of the stages it builds on."""
    record = {
        "stage": stage,
        "values": {name: str(value) for name, value in values.items()},
        "files": files_digest(files),
        "inputs": dict(inputs),
    }
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:HEX_DIGITS]
