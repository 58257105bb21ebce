"""From what the user says (``testos``, a path, later a stream or a build) to a verified local image."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola.arch import get_arch
from kola.errors import ConfigError
from kola.imagefile import Verdict, inspect, unpack
from kola.releaseimages import Located, from_build, from_stream
from kola.releases import Releases, read_releases
from kola.sources import Sources

if TYPE_CHECKING:
    from kola.arch import Arch
    from kola.imagefile import Progress

FORMS = (
    "testos[:VARIANT], a path (qcow2 or raw, also .xz or .gz, or a folder with image.json), stream:NAME[@VERSION], "
    "build:DIR[@ID]"
)
_METADATA_SCHEMA = 1
_ANY = (r".*", "a string")
_TEXT_KEYS = {
    "name": _ANY,
    "version": _ANY,
    "build_id": _ANY,
    "arch": _ANY,
    "distro": _ANY,
    "stream": _ANY,
    "file": (r"(?!\.{1,2}$)[^/]+", "the name of a file in the same folder"),
    "sha256": (r"[0-9a-f]{64}", "64 hexadecimal digits in lower case"),
    "ignition_max": (r"3\.\d+\.0", "3.N.0"),
}
# The third number of a Fedora CoreOS version. Source: "Version numbers" in Design.md of coreos/fedora-coreos-tracker.
_STREAMS = {
    "1": "next",
    "2": "testing",
    "3": "stable",
    "10": "next-devel",
    "20": "testing-devel",
    "91": "rawhide",
    "92": "branched",
}
_FCOS_NAME = re.compile(
    r"(?P<name>fedora-coreos)-(?P<version>\d+\.\d{8}\.(?P<stream>\d+|dev)\.\d+)-[\w-]+\.(?P<arch>\w+)\.\w+(\.xz|\.gz)?"
)


@dataclass(frozen=True)
class Image:
    """A disk image on this host, and what is known of it.

    Attributes:
        path: a qcow2 or raw file, never compressed as a whole.
        format: ``qcow2`` or ``raw``.
        sha256: digest of that file.
        reference: what the user asked for.
        name: such as ``testos`` or ``fedora-coreos``.
        version: of the operating system; empty if unknown.
        build_id: empty if unknown.
        arch: rpm spelling; empty if unknown.
        distro: such as ``fcos``; empty if unknown.
        stream: empty if unknown.
        ignition_max: the highest Ignition spec version that it understands, such as ``3.4.0``; None if unknown.
        capabilities: what its operating system has (``ostree``, ``podman``...); None if unknown, then all is assumed.
        updates: what it can be updated to; None if nothing is at hand.
        artifact_sha256: digest of the file as it was given, which may be compressed.
        container: file on this host with the same operating system as a container image, in an OCI archive; empty if
            there is none.
    """

    path: Path
    format: str
    sha256: str
    reference: str
    name: str = ""
    version: str = ""
    build_id: str = ""
    arch: str = ""
    distro: str = ""
    stream: str = ""
    ignition_max: str | None = None
    capabilities: frozenset[str] | None = None
    updates: Releases | None = None
    container: str = ""
    artifact_sha256: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return builtin types only."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "path": str(self.path),
            "capabilities": None if self.capabilities is None else sorted(self.capabilities),
            "updates": None if self.updates is None else self.updates.to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Image:
        """Return what ``to_plain`` took apart."""
        capabilities, updates = plain["capabilities"], plain["updates"]
        return cls(
            **plain
            | {
                "path": Path(plain["path"]),
                "capabilities": None if capabilities is None else frozenset(capabilities),
                "updates": None if updates is None else Releases.from_plain(updates),
            }
        )


def resolve(
    reference: str, *, cache: Path, arch: Arch, progress: Progress | None = None, sources: Sources | None = None
) -> Image:
    """Find the image that a user asks for, unpack it if need be, and verify it.

    The first use of an image reads all of it; later ones take milliseconds.

    Args:
        reference: see ``FORMS``.
        cache: the user's kola cache folder; made if there is none.
        arch: what the machines shall be.
        progress: told of long steps as ``(what, bytes done, bytes in all)``.
        sources: where images are fetched from; None is Fedora's server, with Fedora's keys.

    Raises:
        ConfigError: there is no such image, it is damaged, or it is for another architecture.
    """
    try:
        image = _resolve(reference, cache, arch, progress, sources or Sources())
    except OSError as e:
        raise ConfigError(f"image {reference}: {e.filename or cache}: {e.strerror}") from e
    if image.arch and image.arch != arch.name:
        raise ConfigError(f"image {reference}: is for {image.arch}, but the architecture of this run is {arch.name}")
    return image


def _resolve(reference: str, cache: Path, arch: Arch, progress: Progress | None, sources: Sources) -> Image:
    scheme, colon, rest = reference.partition(":")
    if scheme == "testos":
        return _test_os(reference, rest, cache, arch, progress)
    path = Path(reference).expanduser()
    if path.exists():
        return _from_path(reference, path, cache, progress)
    if colon and scheme == "stream":
        return _published(reference, from_stream(rest, arch.name, sources, cache, progress), arch, cache, progress)
    if colon and scheme == "build":
        return _published(reference, from_build(rest, arch.name), arch, cache, progress)
    raise ConfigError(f"image {reference}: no such file; accepted: {FORMS}")


def _published(reference: str, located: Located, arch: Arch, cache: Path, progress: Progress | None) -> Image:
    """Return the image of a file whose metadata says more of it than its name."""
    image = _from_path(reference, located.path, cache, progress)
    artifact = located.artifact
    packed = inspect(located.path, cache, progress).sha256
    if artifact.sha256 not in {packed, image.sha256} and artifact.unpacked_sha256 != image.sha256:
        raise ConfigError(
            f"image {reference}: {located.path} has the SHA-256 {packed}, its metadata says {artifact.sha256}"
        )
    return replace(
        image,
        name=image.name or "fedora-coreos",
        version=artifact.version,
        build_id=artifact.version,
        arch=arch.name,
        distro="fcos",
        stream=artifact.stream or image.stream,
        container=str(located.container.resolve()) if located.container is not None else image.container,
    )


def _test_os(reference: str, variant: str, cache: Path, arch: Arch, progress: Progress | None) -> Image:
    folder = cache / "testos" / (f"{arch.name}-{variant}" if variant else arch.name)
    if not (folder / "image.json").exists():
        what = f"ci/testos/build --variant {variant} (as root)" if variant else "ci/testos/build (as root) or ci/demo"
        raise ConfigError(f"image {reference}: not built for {arch.name} (no {folder / 'image.json'}); run {what}")
    return _from_path(reference, folder, cache, progress)


def _from_path(reference: str, path: Path, cache: Path, progress: Progress | None) -> Image:
    if path.is_dir():
        source = path / "image.json"
        if not source.exists():
            raise ConfigError(f"image {reference}: the folder holds no image.json; accepted: {FORMS}")
        known = _read_metadata(source)
        if "file" not in known:
            raise ConfigError(f"image {reference}: {source}: file: required, but missing")
        path = path / known["file"]
        if not path.exists():
            raise ConfigError(f"image {reference}: {source} names {known['file']}, which is not there")
    else:
        known = _metadata_beside(path)
    verdict = given = inspect(path, cache, progress)
    if known.get("sha256", verdict.sha256) != verdict.sha256:
        raise ConfigError(
            f"image {reference}: {path} has the SHA-256 {verdict.sha256}, its image.json says {known['sha256']}"
        )
    if verdict.format.startswith("."):
        path = unpack(path, verdict, cache, progress)
        verdict = _unpacked_verdict(path, cache, progress)
    return Image(
        # Resolved: a rebuild may turn the symlink of the test OS to another folder while machines run on this one.
        path=path.resolve(),
        format=verdict.format,
        sha256=verdict.sha256,
        reference=reference,
        artifact_sha256=given.sha256,
        capabilities=frozenset(known["capabilities"]) if "capabilities" in known else None,
        ignition_max=known.get("ignition_max"),
        updates=known.get("updates"),
        container=known["updates"].releases[0].image if "updates" in known else "",
        **{name: known.get(name, "") for name in ("name", "version", "build_id", "arch", "distro", "stream")},
    )


def _unpacked_verdict(path: Path, cache: Path, progress: Progress | None) -> Verdict:
    verdict = inspect(path, cache, progress)
    if verdict.format.startswith("."):
        raise ConfigError(f"image {path}: is compressed twice; decompress it once by hand")
    return verdict


def _metadata_beside(path: Path) -> dict[str, Any]:
    """Find what is known of a file: its sidecar, a folder's image.json that names it, or its own name."""
    sidecar = path.with_name(f"{path.name}.image.json")
    if sidecar.exists():
        known = _read_metadata(sidecar)
        if known.get("file", path.name) != path.name:
            raise ConfigError(f"{sidecar}: file: names '{known['file']}', but the file beside it is '{path.name}'")
        return known
    shared = path.with_name("image.json")
    if shared.exists():
        known = _read_metadata(shared)
        if known.get("file") == path.name:
            return known
    match = _FCOS_NAME.fullmatch(path.name)
    if match is None:
        return {}
    return {
        "name": match["name"],
        "version": match["version"],
        "build_id": match["version"],
        "arch": match["arch"],
        "distro": "fcos",
        "stream": _STREAMS.get(match["stream"], ""),
    }


def _read_metadata(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_bytes())
    except ValueError as e:
        raise ConfigError(f"{path}: not JSON: {e}") from e
    if not isinstance(known, dict) or known.get("schema") != _METADATA_SCHEMA:
        raise ConfigError(f'{path}: expected an object with "schema": {_METADATA_SCHEMA}')
    known = {name: value for name, value in known.items() if value is not None}
    for name, (pattern, expected) in _TEXT_KEYS.items():
        value = known.get(name)
        if name in known and not (isinstance(value, str) and re.fullmatch(pattern, value)):
            raise ConfigError(f"{path}: {name}: expected {expected}, found {value!r}")
    capabilities = known.get("capabilities", [])
    if not isinstance(capabilities, list) or not all(isinstance(one, str) for one in capabilities):
        raise ConfigError(f"{path}: capabilities: expected a list of strings")
    if "updates" in known:
        known["updates"] = read_releases(known["updates"], path)
    if known.get("arch"):
        try:
            known["arch"] = get_arch(known["arch"]).name
        except ConfigError as e:
            raise ConfigError(f"{path}: arch: {e}") from e
    return known
