"""Images of this host on their way to a cloud: whether they can work there, and the form in which they are sent."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kola.errors import ConfigError
from kola.imagefile import ARCHIVED_DISK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kola.images import Image

_PACKAGES = {"qemu-img": "qemu-utils", "tar": "tar"}
_STREAM_OPTIMIZED = "streamOptimized"


def check_made_for(image: Image, platform: str) -> None:
    """See that an image's Ignition will find its config on a platform, as far as metadata or a file's name say.

    Those of the test OS say nothing: it is for rehearsals, which make its Ignition that of the cloud.

    Args:
        image: of the user.
        platform: as in ``ignition.platform.id``.

    Raises:
        ConfigError: it is made for another one.
    """
    if image.platform not in {"", platform}:
        raise ConfigError(
            f"--image {image.reference}: is made for {image.platform}: on {platform} its Ignition would find no "
            f"config; give the release's image for {platform}, or stream:NAME or build:DIR, which find it"
        )


@contextlib.contextmanager
def as_raw(image: Image, scratch: Path, keep: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield an image as a raw disk of its own, named ``disk.raw``; holes stay holes.

    Args:
        image: of this host.
        scratch: folder for it.
        keep: formats of images that are yielded as they are.

    Raises:
        ConfigError: qemu-img or tar is not installed, or cannot read it.
    """
    if image.format in keep:
        yield image.path
        return
    with tempfile.TemporaryDirectory(dir=scratch, prefix="upload-") as folder:
        if image.format == "tar":
            source = ["--force-local", "--file", str(image.path)]  # also where that has a colon
            _run(image, "tar", "--extract", *source, "--directory", folder, ARCHIVED_DISK)
        else:
            _convert(image, Path(folder, ARCHIVED_DISK), "raw")
        yield Path(folder, ARCHIVED_DISK)


@contextlib.contextmanager
def as_vmdk(image: Image, scratch: Path) -> Iterator[Path]:
    """Yield an image as a stream-optimised VMDK, which leaves holes out; one that is such a file already as it is.

    Args:
        image: of this host.
        scratch: folder for it.

    Raises:
        ConfigError: qemu-img or tar is not installed, or cannot read it.
    """
    if image.format == "vmdk" and _vmdk_type(image) == _STREAM_OPTIMIZED:
        yield image.path
        return
    with contextlib.ExitStack() as made:
        folder = made.enter_context(tempfile.TemporaryDirectory(dir=scratch, prefix="upload-"))
        if image.format == "tar":
            image = replace(image, path=made.enter_context(as_raw(image, scratch)), format="raw")
        target = Path(folder, "disk.vmdk")
        _convert(image, target, "vmdk", "-o", f"subformat={_STREAM_OPTIMIZED}")
        yield target


def _convert(image: Image, target: Path, kind: str, *options: str) -> None:
    source = ["-f", image.format, str(image.path)]
    if image.format == "vhd":  # of the size that it says, and not what its geometry makes of that
        file = {"driver": "file", "filename": str(image.path)}
        source = ["json:" + json.dumps({"driver": "vpc", "force_size_calc": "current_size", "file": file})]
    _run(image, "qemu-img", "convert", "-O", kind, *options, *source, str(target))


def _vmdk_type(image: Image) -> str:
    said = json.loads(_run(image, "qemu-img", "info", "--output=json", "-f", "vmdk", str(image.path)))
    return str(said["format-specific"]["data"]["create-type"])


def _run(image: Image, tool: str, *arguments: str) -> str:
    if shutil.which(tool) is None:
        raise ConfigError(
            f"{tool} is not installed, and an image cannot be uploaded without: install {_PACKAGES[tool]}"
        )
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigError(f"--image {image.reference}: {tool}: {said}")
    return done.stdout
