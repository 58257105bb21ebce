"""The config that most tests of this suite look at, and what it is made of."""

from __future__ import annotations

import gzip
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kola.ignition import data_url

LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
SWAP = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
GUID = "5E1B6C9A-2D4F-4A6B-8C3D-9E0F1A2B3C4D"
UUID = "b1e6a7c2-3d84-4f5e-9a60-7c8d9e0f1a2b"
DISK = "/dev/disk/by-id/virtio-data"
HOSTNAME = "kola-ignition"
HASHED = "$6$kolaignition$iKBNLXfP5t/PVimh2DM3npk62jO5cVNs1VBFbIELXIbi25.noSgjpW4BRjOqF/E6ySzV1k4ad1xpKU9gZysmB/"
LARGE = b"".join(b"line %d\n" % number for number in range(50_000))
BINARY = bytes(range(256))
PROGRAM = "#!/bin/sh\ncat /usr/local/etc/kola/settings\n"
STATE = "/var/lib/kola-ignition"

# Derived, so that no private key is in the repository, and the same for every run, so that the machine can be kept.
_KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"kola: tests/external/ignition").digest())
PRIVATE_KEY = _KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
PUBLIC_KEY = _KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " kola-ignition"


def sha512(content: bytes) -> dict[str, str]:
    """Return the verification of a resource with that content, as it is when it is unpacked."""
    return {"hash": f"sha512-{hashlib.sha512(content).hexdigest()}"}


def file(path: str, content: str | bytes = "", **members: Any) -> dict[str, Any]:
    """Return a file with that content."""
    data = content.encode() if isinstance(content, str) else content
    return {"path": path, "mode": 0o644, "contents": {"source": data_url(data)}, **members}


def oneshot(command: str, *, wanted_by: str = "multi-user.target", lines: str = "") -> str:
    """Return a unit that runs a shell line once a boot."""
    service = f"[Service]\nType=oneshot\nRemainAfterExit=yes\n{lines}ExecStart=/bin/sh -c '{command}'\n"
    return f"{service}[Install]\nWantedBy={wanted_by}\n"


def mount_unit(device: str, where: str, kind: str, *, name: str = "") -> dict[str, Any]:
    """Return the unit that mounts a file system in every boot, as Butane writes it."""
    unit = f"[Unit]\nBefore=local-fs.target\n[Mount]\nWhat={device}\nWhere={where}\nType={kind}\n"
    contents = f"{unit}[Install]\nRequiredBy=local-fs.target\n"
    return {"name": name or f"{where.strip('/').replace('/', '-')}.mount", "enabled": True, "contents": contents}


def label(name: str) -> str:
    """Return the device of a partition with that label."""
    return f"/dev/disk/by-partlabel/{name}"


_SWAP_UNIT = {
    "name": r"dev-disk-by\x2dpartlabel-kola\x2dswap.swap",
    "enabled": True,
    "contents": f"[Swap]\nWhat={label('kola-swap')}\n[Install]\nRequiredBy=swap.target\n",
}

CONFIG: dict[str, Any] = {
    "ignition": {"version": "3.2.0"},
    "passwd": {
        "groups": [{"name": "kola-group", "gid": 3101}, {"name": "kola-system", "system": True}],
        "users": [
            {"name": "root", "sshAuthorizedKeys": [PUBLIC_KEY]},
            {
                "name": "kola-user",
                "uid": 2101,
                "gecos": "Kola User",
                "homeDir": "/var/home/elsewhere",
                "primaryGroup": "kola-group",
                "groups": ["kola-system", "adm"],
                "shell": "/bin/sh",
                "passwordHash": HASHED,
                "sshAuthorizedKeys": [PUBLIC_KEY],
            },
            {"name": "kola-daemon", "system": True, "noCreateHome": True, "shell": "/usr/sbin/nologin"},
            {"name": "kola-absent", "shouldExist": False},
        ],
    },
    "storage": {
        "disks": [
            {
                "device": DISK,
                "wipeTable": True,
                "partitions": [
                    {"number": 1, "label": "kola-ext4", "startMiB": 4, "sizeMiB": 256, "typeGuid": LINUX, "guid": GUID},
                    {"number": 4, "label": "kola-xfs", "sizeMiB": 512},
                    {"number": 0, "label": "kola-vfat", "sizeMiB": 64},
                    {"number": 0, "label": "kola-swap", "sizeMiB": 128, "typeGuid": SWAP},
                    {"number": 9, "label": "kola-rest", "startMiB": 1024, "sizeMiB": 0},
                ],
            }
        ],
        "filesystems": [
            {
                "device": label("kola-ext4"),
                "format": "ext4",
                "path": "/var/kola_ext4",
                "label": "kola-fs-ext4",
                "uuid": UUID,
                "wipeFilesystem": True,
            },
            {"device": label("kola-xfs"), "format": "xfs", "path": "/var/kola_xfs", "label": "kola-fs-xfs"},
            # Without a path: Ignition would label it, which vfat cannot hold. The unit mounts it.
            {"device": label("kola-vfat"), "format": "vfat", "label": "KOLAVFAT"},
            {"device": label("kola-swap"), "format": "swap", "label": "kola-fs-swap"},
        ],
        "directories": [
            {"path": STATE, "mode": 0o750, "user": {"name": "kola-user"}, "group": {"name": "kola-system"}},
            {"path": f"{STATE}/deep/er", "mode": 0o700, "user": {"id": 2101}, "group": {"id": 3101}},
            {"path": "/var/kola_xfs/folder", "mode": 0o711},
        ],
        "files": [
            file("/etc/hostname", f"{HOSTNAME}\n", overwrite=True),
            file("/etc/kola/text", "two lines\nand an umlaut \u00fc\n", mode=0o640, user={"name": "kola-user"}),
            file("/etc/kola/binary", BINARY, mode=0o400, group={"id": 3101}),
            file("/etc/kola/percent", contents={"source": "data:text/plain;charset=utf-8,a%20b%2Cc%0A"}),
            file("/etc/kola/empty", contents={"source": ""}),
            file(
                "/etc/kola/large",
                contents={
                    "source": data_url(gzip.compress(LARGE, mtime=0)),
                    "compression": "gzip",
                    "verification": sha512(LARGE),
                },
            ),
            file("/etc/kola/verified", contents={"source": "data:,verified%0A", "verification": sha512(b"verified\n")}),
            file(
                "/etc/kola/appended",
                "one\n",
                append=[
                    {"source": "data:,two%0A"},
                    {"source": data_url(gzip.compress(b"three\n", mtime=0)), "compression": "gzip"},
                ],
            ),
            # Files of the image: one gets a line more, one is replaced.
            {"path": "/etc/login.defs", "append": [{"source": "data:,%23%20kola%0A"}]},
            file("/etc/shells", "/bin/sh\n/bin/bash\n", overwrite=True, mode=0o604),
            file(f"{STATE}/file", "in /var\n", mode=0o600, user={"name": "kola-user"}),
            file("/var/home/core/kola", "at home\n", user={"name": "core"}),
            file("/var/kola_ext4/file", "on ext4\n", mode=0o640, user={"name": "kola-user"}),
            file("/var/kola_xfs/folder/file", "on xfs\n"),
            # Where an administrator's own programs are: links to /var on Fedora CoreOS.
            file("/opt/kola/program", PROGRAM, mode=0o755),
            file("/usr/local/bin/kola-program", PROGRAM, mode=0o755),
            file("/usr/local/etc/kola/settings", "for everybody\n"),
        ],
        "links": [
            {"path": "/etc/localtime", "target": "../usr/share/zoneinfo/Europe/Berlin", "overwrite": True},
            {"path": "/etc/kola/symbolic", "target": "text"},
            {"path": "/etc/kola/owned", "target": "/nonexistent", "user": {"name": "kola-user"}},
            {"path": "/etc/kola/hard", "target": "/etc/kola/text", "hard": True},
        ],
    },
    "systemd": {
        "units": [
            mount_unit(label("kola-ext4"), "/var/kola_ext4", "ext4"),
            mount_unit(label("kola-xfs"), "/var/kola_xfs", "xfs"),
            mount_unit(label("kola-vfat"), "/var/kola_vfat", "vfat"),
            _SWAP_UNIT,
            {"name": "kola-ran.service", "enabled": True, "contents": oneshot(f"echo ran >>{STATE}/ran")},
            {"name": "kola-off.service", "enabled": False, "contents": oneshot(f"echo ran >>{STATE}/off")},
            {"name": "kola-unsaid.service", "contents": oneshot(f"echo ran >>{STATE}/unsaid")},
            {
                "name": "kola-masked.service",
                "enabled": True,
                "mask": True,
                "contents": oneshot(f"touch {STATE}/masked"),
            },
            {"name": "kola-each@.service", "contents": oneshot(f"echo %i >>{STATE}/each-%i")},
            {"name": "kola-each@one.service", "enabled": True},
            {"name": "kola-each@two.service", "enabled": True},
            {
                "name": "kola-drop-in.service",
                "enabled": True,
                "contents": oneshot(
                    f"echo $COLOUR $SHAPE >{STATE}/drop-in", lines="Environment=COLOUR=red SHAPE=round\n"
                ),
                "dropins": [
                    {"name": "10-first.conf", "contents": "[Service]\nEnvironment=COLOUR=green\n"},
                    {"name": "20-second.conf", "contents": "[Service]\nEnvironment=COLOUR=blue\n"},
                ],
            },
            {
                "name": "systemd-logind.service",
                "dropins": [{"name": "10-kola.conf", "contents": "[Service]\nEnvironment=KOLA=effective\n"}],
            },
            {"name": "systemd-tmpfiles-clean.timer", "mask": True},
            {"name": "fstrim.timer", "enabled": True},
        ]
    },
}
