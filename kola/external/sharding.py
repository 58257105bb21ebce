"""One of several shares of the tests, for runs on several hosts; the same shares as kola's. Pure."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from kola.errors import ConfigError

_OFFSET, _PRIME = 0xCBF29CE484222325, 0x100000001B3


@dataclass(frozen=True)
class Shard:
    """Share ``number`` of ``total``, from 1 on."""

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``hash:m/n``.

        Raises:
            ConfigError: anything else.
        """
        match = re.fullmatch(r"hash:([0-9]{1,9})/([0-9]{1,9})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ConfigError(f"--sharding '{text}': expected hash:M/N with M from 1 to N, such as hash:1/3")
        return cls(int(match[1]), int(match[2]))

    def has(self, name: str) -> bool:
        """Tell whether a test is in this share; of a name that is not UTF-8 the bytes count, as in Go."""
        return fnv1(os.fsencode(name)) % self.total + 1 == self.number


def fnv1(data: bytes) -> int:
    """Return the 64 bits of FNV-1 (not FNV-1a): Go's ``hash/fnv.New64``."""
    found = _OFFSET
    for byte in data:
        found = (found * _PRIME & 0xFFFFFFFFFFFFFFFF) ^ byte
    return found
