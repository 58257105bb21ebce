"""The values of options: what each may be, from text to what ``Settings`` holds."""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path

from kola.budget import available_memory_mib, default_budget_mib
from kola.clonecache import Limits as CloneLimits
from kola.errors import ConfigError


def owner_name(given: str | None) -> str:
    """Return the owner's name; by default that of the user.

    Raises:
        ConfigError: it has other characters than a tag takes.
    """
    owner = given or _user()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}", owner):
        raise ConfigError(f"--owner '{owner}': letters, digits and ._@- only, at most 63")
    return owner


def key_uri(folder: Path, uri: str) -> str:
    """Return where a key is, whatever folder that is told in."""
    scheme, colon, rest = uri.partition(":")
    if uri and (not colon or scheme == "file"):
        return f"file:{(folder / (rest if colon else uri)).resolve()}"
    return uri


def suite_name(name: str) -> str:
    """Return it.

    Raises:
        ConfigError: it is none.
    """
    if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise ConfigError(f"--suite '{name}': letters, digits and ._- only, at most 63")
    return name


def times(text: str) -> int:
    """Return a number from 1 on.

    Raises:
        ConfigError: it is none.
    """
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise ConfigError(f"--multiply '{text}': expected a number from 1 on")
    return int(text)


def existing(flag: str, folder: Path, path: str) -> Path:
    """Return the path of something that is there.

    Raises:
        ConfigError: it is not; names the flag.
    """
    found = (folder / path).resolve()
    if not found.exists():
        raise ConfigError(f"{flag} {path}: no such file or folder")
    return found


def run_name(name: str) -> str:
    """Return it; empty for none.

    Raises:
        ConfigError: it cannot be the name of a folder of runs.
    """
    if name and (name == "latest" or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name)):
        raise ConfigError(f"--run-name '{name}': letters, digits and ._- only, at most 200, and not 'latest'")
    return name


def existing_if_given(flag: str, folder: Path, path: str | None) -> Path | None:
    """Like ``existing``; None for none."""
    return existing(flag, folder, path) if path else None


def new_file(flag: str, folder: Path, path: str) -> Path:
    """Return the path of a file that can be written.

    Raises:
        ConfigError: it cannot; names the flag.
    """
    found = (folder / path).resolve()
    if found.is_dir():
        raise ConfigError(f"{flag} {path}: is a folder")
    if not os.access(found if found.exists() else found.parent, os.W_OK):
        raise ConfigError(f"{flag} {path}: cannot be written: {found.parent}")
    return found


def cache_folder(value: str | None = None) -> Path:
    """Return the cache folder: the given one, ``$KOLA_CACHE``, or ``kola`` below the user's cache (XDG)."""
    if value or (value := os.environ.get("KOLA_CACHE")):
        return Path(value).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kola"


def clone_limits(gib: str | None, days: float | None = None) -> CloneLimits:
    """Return how many saved machines are kept; None is the default.

    Raises:
        ConfigError: no number, or a negative one.
    """
    default = CloneLimits()
    try:
        size = default.size_mib if gib is None else int(float(gib) * 1024)
    except (ValueError, OverflowError):
        size = -1
    if size < 0:
        raise ConfigError(f"--clone-cache '{gib}': expected a number of GiB, 0 or more")
    if days is not None and not days >= 0:
        raise ConfigError(f"--clone-age {days}: expected a number of days, 0 or more")
    return CloneLimits(size, default.age_days if days is None else days)


def memory_budget(text: str | None) -> int:
    """Return MiB from ``4096`` or ``50%`` (of the memory that is available now); None is 80 %.

    Raises:
        ConfigError: anything else.
    """
    if not text:
        return default_budget_mib()
    match = re.fullmatch(r"([0-9]{1,12})(%?)", text.strip())
    if match is None or int(match[1]) == 0 or (match[2] and int(match[1]) > 100):  # noqa: PLR2004 - per cent
        raise ConfigError(f"--memory-budget '{text}': expected MiB such as 4096, or 1% to 100%")
    return available_memory_mib() * int(match[1]) // 100 if match[2] else int(match[1])


def _user() -> str:
    try:
        return re.sub(r"[^A-Za-z0-9._@-]", "-", getpass.getuser())
    except (KeyError, OSError):  # a uid without a name
        return f"uid{os.getuid()}"
