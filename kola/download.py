"""Files from an HTTP server into the cache: resumed where they broke off, verified before they get their name."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from kola import __version__
from kola.errors import ConfigError
from kola.filelock import FileLock
from kola.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kola.imagefile import Progress

T = TypeVar("T")
_CHUNK = 1 << 20
_SECONDS = 60.0
"""For an answer, or the next bytes of one."""
ATTEMPTS = 5
"""How often a download may break off without having come further."""
PAUSE = 2.0
"""Seconds before it is taken up again."""
_SECONDS_IN_ALL = 7200.0
_OK, _NOT_SATISFIABLE = 200, 416
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOST = 64 << 20
"""Bytes of metadata: more is not what was asked for."""


class NotThere(ConfigError):
    """The server answers, and has nothing of that name."""


def fetch_text(url: str) -> bytes:
    """Return a small document.

    Raises:
        NotThere: the server says so.
        ConfigError: it is not to be had otherwise; says why.
    """
    return _retried(url, lambda: _read_all(url))


def fetch_file(url: str, target: Path, sha256: str, progress: Progress | None = None) -> Path:
    """Download a file, unless it is there; what an earlier try left is gone on with.

    Args:
        url: of it.
        target: where it goes; appears when it is complete and has this digest.
        sha256: of the file.
        progress: told of the bytes.

    Returns:
        ``target``.

    Raises:
        ConfigError: it is not to be had, or has another digest; then nothing of it is kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target, progress):
        if target.exists():
            return target
        partial = target.with_name(f"{target.name}.part")
        _retried(url, lambda: _resume(url, partial, progress), grows=partial)
        with partial.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            partial.unlink()
            raise ConfigError(
                f"{url}: has the SHA-256 {found}, the metadata says {sha256}; what was fetched is removed"
            )
        partial.replace(target)
    return target


@contextmanager
def _alone(target: Path, progress: Progress | None) -> Iterator[None]:
    def waiting(_elapsed: float) -> None:
        if progress is not None:
            progress(f"waiting for another process that fetches {target.name}", 0, 0)

    with FileLock(target.with_name(f".{target.name}.lock")) as lock:
        wait_until(lock.try_take, _SECONDS_IN_ALL, what=f"another process to fetch {target.name}", progress=waiting)
        yield


def _retried(url: str, attempt: Callable[[], T], grows: Path | None = None) -> T:
    """Try until it works; give up when it breaks off too often without having come further."""
    failures = 0

    def size() -> int:
        return grows.stat().st_size if grows is not None and grows.exists() else 0

    def once() -> list[T]:
        nonlocal failures
        before = size()
        try:
            return [attempt()]
        except _Broken as e:
            failures = 0 if size() > before else failures + 1
            if failures >= ATTEMPTS:
                kept = "; what there is of it stays, and is gone on with" if size() else ""
                raise ConfigError(f"{url}: {e}; tried {ATTEMPTS} times{kept}") from e
            return []

    return wait_until(once, _SECONDS_IN_ALL, what=url, interval=PAUSE)[0]


class _Broken(Exception):
    """Something that may go better the next time."""


@contextmanager
def _opened(url: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"'{url}' is no URL of http or https")
    try:
        request = urllib.request.Request(url, headers={"User-Agent": f"kola/{__version__}", **headers})  # noqa: S310
    except ValueError as e:
        raise ConfigError(f"'{url}' is no URL: {e}") from e
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310 - only http and https
            yield response
    except urllib.error.HTTPError as e:
        e.close()
        if e.code in _TEMPORARY:
            raise _Broken(f"{e.code} {e.reason}") from e
        if e.code == _NOT_SATISFIABLE:
            raise
        absent = e.code in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
        raise (NotThere if absent else ConfigError)(f"{url}: {e.code} {e.reason}") from e
    except (http.client.InvalidURL, UnicodeError) as e:  # of the address, which no other try makes better
        raise ConfigError(f"'{url}' is no URL: {e}") from e
    except (urllib.error.URLError, http.client.HTTPException, OSError) as e:
        raise _Broken(str(getattr(e, "reason", "")) or str(e) or type(e).__name__) from e


def _read_all(url: str) -> bytes:
    with _opened(url, {}) as response:
        data = response.read(_MOST + 1)
        if len(data) > _MOST:
            raise ConfigError(f"{url}: is larger than {_MOST >> 20} MiB, which no metadata is")
        if response.length:
            raise _Broken("the answer ended early")
        return data


def _resume(url: str, partial: Path, progress: Progress | None) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    try:
        with _opened(url, {"Range": f"bytes={have}-"} if have else {}) as response:
            if have and response.status == _OK:  # a server without ranges begins anew
                have = 0
            total = have + (response.length or 0)
            with partial.open("ab" if have else "wb") as file:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    if progress is not None:
                        progress(f"fetching {url.rpartition('/')[2]}", file.tell(), total)
                if total and file.tell() < total:
                    raise _Broken(f"the answer ended after {file.tell()} of {total} bytes")
    except urllib.error.HTTPError as e:  # nothing is behind what there is: it is complete, or not what is there now
        if e.headers.get("Content-Range", "").rpartition("/")[2] != str(have):
            partial.unlink()
            raise _Broken("what an earlier try left does not fit") from e
