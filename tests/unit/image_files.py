"""Image files for tests, and how they are resolved."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kola.arch import get_arch
from kola.errors import ConfigError
from kola.images import Image, resolve

X86 = get_arch("x86_64")
MIB = 1 << 20
FCOS = "fedora-coreos-40.20240101.3.0-qemu.x86_64.qcow2"


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def make_disks(folder: Path) -> dict[str, Path]:
    """One disk of 2 MiB in every form: random bytes, zeros, and text at the end, which can be compressed."""
    rng = random.Random(1)  # noqa: S311 - not for security
    text = b"".join(b"line %d\n" % n for n in range(100_000))
    raw = folder / "plain.raw"
    half = MIB // 2
    raw.write_bytes(rng.randbytes(half) + bytes(2 * half) + text[:half])
    made = {"raw": raw}
    for name, options in {
        "plain": [],
        "compressed": ["-c"],
        "zstd": ["-c", "-o", "compression_type=zstd"],
        "small clusters": ["-o", "cluster_size=4k"],
        "version 2": ["-o", "compat=0.10"],
        "wide entries": ["-o", "extended_l2=on,cluster_size=128k"],
    }.items():
        made[name] = folder / f"{name.replace(' ', '-')}.qcow2"
        qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, raw, made[name])
    made["empty"] = folder / "empty.qcow2"
    qemu_img("create", "-f", "qcow2", made["empty"], "1G")
    made["table at the end"] = folder / "zeroed.qcow2"
    qemu_img("create", "-f", "qcow2", made["table at the end"], "1G")
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -z 600M 64k", made["table at the end"]],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    made["odd size"] = folder / "odd.qcow2"
    (folder / "odd.raw").write_bytes(rng.randbytes(MIB + 512))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", folder / "odd.raw", made["odd size"])
    return made


def in_form(raw: Path, form: str, folder: Path) -> Path:
    """Return a raw disk in one of ``kola.imagefile.FORMATS``, as releases have it."""
    made = folder / f"made.{form}"
    if form == "tar":
        (folder / "archived").mkdir()
        subprocess.run(["cp", "--sparse=always", raw, folder / "archived" / "disk.raw"], check=True)
        command = ["tar", "--create", "--sparse", "--format=oldgnu", f"--file={made}", f"--directory={folder}/archived"]
        subprocess.run([*command, "disk.raw"], check=True)
        return made
    options = {
        "vmdk": ["vmdk", "-o", "subformat=streamOptimized"],
        "vhd": ["vpc", "-o", "subformat=fixed,force_size=on"],
    }
    qemu_img("convert", "-f", "raw", "-O", *options.get(form, [form]), raw, made)
    return made


QCOW2 = [
    "plain",
    "compressed",
    "zstd",
    "small clusters",
    "version 2",
    "wide entries",
    "empty",
    "table at the end",
    "odd size",
]


class Counter:
    """A progress callback that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def __call__(self, what: str, done: int, total: int, /) -> None:
        self.calls.append((what, done, total))


def get(reference: object, cache: Path, **options: Any) -> Image:
    return resolve(str(reference), cache=cache, arch=options.pop("arch", X86), **options)


def refusal(reference: object, cache: Path, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        get(reference, cache, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def metadata(folder: Path, at: str = "image.json", /, **members: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / at).write_text(json.dumps({"schema": 1, **members}))


def xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


def gz(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1)


PACKERS = {".xz": xz, ".gz": gz}
