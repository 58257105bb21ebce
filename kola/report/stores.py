"""Where runs lie: a folder of this host, or a prefix of an S3-like store (``s3://BUCKET/PREFIX``)."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = "results.json"
SCHEME = "s3://"


class Store(Protocol):
    """Files by keys: paths with slashes below its root."""

    @property
    def name(self) -> str:
        """As the user named it."""

    def records(self) -> list[str]:
        """Return the keys of all ``results.json``, the one that was written last first.

        Raises:
            ConfigError: it cannot be listed.
        """

    def tail(self, key: str, most: int) -> bytes | None:
        """Return the last so many bytes of a file; None if there is none.

        Raises:
            ConfigError: it cannot be read.
        """

    def file(self, key: str) -> Path | None:
        """Return where it is on this host; None if it is elsewhere or nowhere."""


def open_store(word: str) -> Store:
    """Return the store that a word of the command line names.

    Raises:
        ConfigError: no such folder, no bucket, no boto3.
    """
    if word.startswith(SCHEME):
        bucket, _, prefix = word.removeprefix(SCHEME).partition("/")
        if not bucket:
            raise ConfigError(f"{word}: names no bucket: s3://BUCKET/PREFIX")
        return S3(word, bucket, prefix.strip("/"), _client(word))
    if not Path(word).is_dir():
        raise ConfigError(f"{word}: no such folder")
    return Folder(word, Path(word).resolve())


@dataclass(frozen=True)
class Folder:
    """A folder; what links lead out of it to is not there."""

    name: str
    root: Path

    def records(self) -> list[str]:
        """See ``Store``; below the folder of a run there is no other. One that cannot be read may be a run's."""
        found: list[Path] = []
        closed: list[Path] = []
        for folder, folders, files in os.walk(self.root, onerror=lambda e: closed.append(Path(e.filename, RECORD))):
            folders[:] = [] if RECORD in files else [name for name in folders if not name.startswith(".")]
            if RECORD in files:
                found.append(Path(folder, RECORD))
        found.sort(key=lambda path: (path.stat().st_mtime, path), reverse=True)
        return [path.relative_to(self.root).as_posix() for path in (*found, *closed)]

    def tail(self, key: str, most: int) -> bytes | None:
        """See ``Store``."""
        path = self._path(key)
        try:
            if path is None or path.is_dir():
                return None
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - most))
                return file.read(most)
        except OSError as e:
            if e.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}:
                return None
            raise ConfigError(f"{path}: {e.strerror}") from e

    def file(self, key: str) -> Path | None:
        """See ``Store``."""
        path = self._path(key)
        try:
            return path if path is not None and path.is_file() else None
        except OSError:
            return None

    def _path(self, key: str) -> Path | None:
        try:
            path = (self.root / key).resolve()
            return path if path.is_relative_to(self.root) else None
        except (OSError, ValueError):  # a name that is too long, a NUL
            return None


@dataclass(frozen=True)
class S3:
    """A prefix of a bucket; region, endpoint and credentials are boto3's business."""

    name: str
    bucket: str
    prefix: str
    client: Any

    def records(self) -> list[str]:
        """See ``Store``."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(""))
        with _errors(self.name):
            found = [
                (entry["LastModified"], entry["Key"])
                for page in pages
                for entry in page.get("Contents", ())
                if PurePosixPath(entry["Key"]).name == RECORD
            ]
        start = len(self._key(""))
        return [key[start:] for _, key in sorted(found, reverse=True)]

    def tail(self, key: str, most: int) -> bytes | None:
        """See ``Store``."""
        where = {"Bucket": self.bucket, "Key": self._key(key)}
        with _errors(f"{self.name}: {key}"):
            try:
                reply = self.client.get_object(**where, Range=f"bytes=-{most}")
            except self.client.exceptions.ClientError as e:
                code = e.response.get("Error", {}).get("Code")
                if code in {"NoSuchKey", "404"}:
                    return None
                if code != "InvalidRange":  # which an empty file gives
                    raise
                return b""
            data: bytes = reply["Body"].read()
        return data

    def file(self, key: str) -> Path | None:  # noqa: ARG002 - the protocol's
        """See ``Store``: it is elsewhere."""
        return None

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key


@contextlib.contextmanager
def _errors(what: str) -> Iterator[None]:
    """Make boto3's errors one line each; its classes are known only where it is installed."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - of an extra

    try:
        yield
    except (BotoCoreError, ClientError) as e:
        raise ConfigError(f"{what}: {e}") from e


def _client(word: str) -> Any:
    try:
        import boto3  # noqa: PLC0415 - of an extra
    except ImportError as e:
        raise ConfigError(f"{word}: needs the Python module '{e.name}': pip install 'pytest-kola[s3]'") from e
    with _errors(word):
        return boto3.client("s3")
