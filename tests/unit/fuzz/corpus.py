"""``python -m tests.unit.fuzz.corpus`` makes the corpus: right inputs, each broken in one way, that must be refused.

Those that a parser takes nevertheless (a broken comment is none) are left out; those that it fails on otherwise are
not: the test finds them.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from kola import butane, ignition
from kola.errors import ConfigError
from kola.external.denylist import parse_denylist
from kola.external.metadata import parse_executable, parse_folder
from kola.metadata import QEMU, build_image, choose_build, cloud_images, platform_image

CORPUS = Path(__file__).parents[1] / "data" / "fuzz.json"
EACH = 60

METADATA = b"""#!/bin/bash
## kola:
##   exclusive: false
##   tags: "needs-internet slow"
##   architectures: "!s390x ppc64le"
##   timeoutMin: 8
##   conflicts: ["ext.config.a", "ext.config.b"]
##   creationDate: 2026-01-31
set -xeuo pipefail
"""
INLINE = b'#!/bin/bash\n# kola: {"exclusive": true, "minMemory": 4096, "additionalDisks": ["5G"], "tags": "a"}\ntrue\n'
FOLDER = b'{"tags": "a b", "minDisk": 15, "requiredHostPorts": [2049], "bootFrom": "iso", "numaNodes": true}\n'
BUTANE = b"""variant: fcos
version: 1.5.0
storage:
  files:
    - path: /etc/a
      mode: 0644
      overwrite: true
      contents: {inline: hello}
  filesystems:
    - {device: /dev/vdb, format: xfs, path: /var/x, with_mount_unit: true}
systemd:
  units:
    - name: a.service
      enabled: true
      contents: "[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n"
boot_device: {luks: {tpm2: true}}
"""
IGNITION = (
    b'{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/etc/a", "mode": 420, "contents": {"source": '
    b'"data:,hello", "compression": ""}}], "disks": [{"device": "/dev/vdb", "partitions": [{"number": 1}]}]}, '
    b'"passwd": {"users": [{"name": "core", "uid": 1000}]}}'
)
DENYLIST = (
    b"- pattern: ext.a.*\n  tracker: https://example.com/1\n  snooze: 2026-06-01\n  warn: true\n  streams: [rawhide]\n"
)
_DISK = {"disk": {"location": "http://x/y.qcow2.xz", "signature": "http://x/y.sig", "sha256": "0a" * 32}}
_FORMATS = {"qcow2.xz": _DISK}
_STREAM = {"artifacts": {"qemu": {"release": "42.1", "formats": _FORMATS}}}
STREAM = json.dumps({"stream": "stable", "architectures": {"x86_64": _STREAM}}).encode()
_RELEASE = {"media": {"qemu": {"artifacts": _FORMATS}}}
RELEASE = json.dumps({"release": "42.1", "architectures": {"x86_64": _RELEASE}}).encode()
_CLOUDS = {
    "artifacts": {"azure": {"release": "42.1", "formats": {"vhd.xz": _DISK}}},
    "images": {
        "aws": {"regions": {"eu": {"release": "42.1", "image": "ami-1"}}},
        "gcp": {"release": "42.1", "project": "p", "family": "f", "name": "n"},
    },
}
CLOUDS = json.dumps({"architectures": {"x86_64": _CLOUDS}}).encode()
BUILDS = b'{"builds": [{"id": "42.2", "arches": ["x86_64"]}, {"id": "42.1", "arches": ["x86_64"]}]}'
BUILD = json.dumps({"buildid": "42.1", "images": {"qemu": {"path": "a.qcow2", "sha256": "0a" * 32}}}).encode()

PARSERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "metadata": (lambda text: parse_executable(text, "input"), METADATA),
    "inline metadata": (lambda text: parse_executable(text, "input"), INLINE),
    "kola.json": (lambda text: parse_folder(text, "input"), FOLDER),
    "butane": (lambda text: butane.translate(text, "input"), BUTANE),
    "ignition": (lambda text: ignition.parse(text, "input"), IGNITION),
    "denylist": (lambda text: parse_denylist(text, "input"), DENYLIST),
    "stream": (lambda text: platform_image(text, "input", QEMU, "x86_64"), STREAM),
    "release": (lambda text: platform_image(text, "input", QEMU, "x86_64"), RELEASE),
    "clouds": (lambda text: cloud_images(text, "input", "x86_64"), CLOUDS),
    "builds": (lambda text: choose_build(text, "input", "42.1", "x86_64"), BUILDS),
    "build": (lambda text: build_image(text, "input", QEMU), BUILD),
}
"""Name -> the parser, and an input that it takes."""


@dataclass(frozen=True)
class Broken:
    """An input that must be refused; ``data`` in base64."""

    parser: str
    data: str

    @property
    def text(self) -> bytes:
        return base64.b64decode(self.data)


_INSERTED = (b"\0", b"\xff\xfe", b"\t", b"{", b"]", b'"', b":", b"- ", b"\n", b"&a *a")
_REPLACED = (b"true", b"1", b'"', b"[", b"{", b": ", b"/", b"a")
_REPLACING = (b"null", b"[]", b"{}", b"-1", b"1e999", b"x", b"'", b"!!int x", b"")


def broken(text: bytes, seed: int) -> bytes:  # noqa: PLR0911 - each a way
    """Break an input in one way."""
    chance = random.Random(f"fuzz {seed}")  # noqa: S311 - no secret
    at = chance.randrange(len(text))
    end = min(len(text), at + chance.randint(1, 12))
    match seed % 9:
        case 0:
            return text[:at]
        case 1:
            return text[:at] + text[end:]
        case 2:
            return text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
        case 3:
            return (
                text[:at]
                + chance.choice([b"\0", b"\xff\xfe", b"\t", b"{", b"]", b'"', b":", b"- ", b"\n", b"&a *a"])
                + text[at:]
            )
        case 4:
            words = text.split(b" ")
            chance.shuffle(words)
            return b" ".join(words)
        case 5:
            return text[:at] + text[at:end] * 200 + text[end:]
        case 6:
            old = chance.choice([b"true", b"1", b'"', b"[", b"{", b": ", b"/", b"a"])
            return text.replace(
                old, chance.choice([b"null", b"[]", b"{}", b"-1", b"1e999", b"x", b"'", b"!!int x", b""]), 1
            )
        case 7:
            lines = text.split(b"\n")
            lines.insert(chance.randrange(len(lines)), chance.choice(lines))
            return b"\n".join(lines)
        case _:
            return chance.randbytes(chance.randint(1, 60)) if at % 2 else text[:at] + b"[" * 3000 + text[at:]


def refused(name: str, text: bytes) -> bool:
    """Whether a parser refuses an input, in whatever way."""
    try:
        PARSERS[name][0](text)
    except ConfigError:
        return True
    except Exception:  # noqa: BLE001 - that is what the corpus is for
        return True
    return False


def main() -> None:
    """Make the corpus."""
    found = []
    for name, (_, text) in PARSERS.items():
        assert not refused(name, text), name
        candidates = (broken(text, seed) for seed in range(100_000))
        kept: dict[bytes, None] = {}
        while len(kept) < EACH:
            candidate = next(candidates)
            if refused(name, candidate):
                kept[candidate] = None
        found += [Broken(name, base64.b64encode(data).decode()) for data in kept]
    CORPUS.write_text(json.dumps([asdict(one) for one in found], indent=0) + "\n")
    print(f"{len(found)} inputs in {CORPUS.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
