"""From what the user says (``testos``, a path, later a stream or a build) to a verified local image."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError
from kola.imagefile import FORMATS, LOCAL_FORMATS, Verdict, inspect, unpack
from kola.imagemetadata import describe, made_for, metadata_beside, read_description, read_metadata
from kola.metadata import QEMU
from kola.releaseimages import Located, build_image, fetch, find_in_build, stream_image
from kola.releases import Releases
from kola.sources import Sources

if TYPE_CHECKING:
    from kola.arch import Arch
    from kola.imagefile import Progress
    from kola.platform import Platform

FORMS = (
    "testos[:VARIANT], a path (qcow2 or raw, also .xz or .gz, or a folder with image.json), stream:NAME[@VERSION], "
    "build:DIR[@ID]; on a cloud also VMDK, fixed VHD, tar.gz with disk.raw, and cloud:ID, an image that it has already"
)


@dataclass(frozen=True)
class Image:
    """A disk image on this host, and what is known of it.

    Attributes:
        path: a qcow2 or raw file, never compressed as a whole.
        format: one of ``kola.imagefile.FORMATS``; ``cloud`` for one that a provider has: then there is no file.
        sha256: digest of that file; empty if there is none.
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
        platform: where its Ignition looks for its config (``ignition.platform.id``), such as ``qemu`` or ``aws``;
            empty if unknown.
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
    platform: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return builtin types only."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "path": str(self.path),
            "capabilities": None if self.capabilities is None else sorted(self.capabilities),
            "updates": None if self.updates is None else self.updates.to_plain(),
        }

    def description(self) -> dict[str, Any]:
        """Return what is known of it, whatever file it is in, as an ``image.json`` says it."""
        return describe(self.to_plain())

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


@dataclass(frozen=True)
class Cloud:
    """Where an image shall boot that is not for machines on this host.

    Attributes:
        platform: as the metadata of releases calls it, which is its ``ignition.platform.id``.
        region: of it, where images have one; empty elsewhere, and if it is not known.
    """

    platform: str
    region: str = ""

    @classmethod
    def of(cls, platform: type[Platform], options: Any) -> Cloud | None:
        """Return where images of a platform with these ``Options`` are; None if it is this host."""
        return cls(platform.ignition_platform, getattr(options, "region", "")) if platform.remote else None


def resolve(
    reference: str,
    *,
    cache: Path,
    arch: Arch,
    progress: Progress | None = None,
    sources: Sources | None = None,
    cloud: Cloud | None = None,
    described_by: Path | None = None,
) -> Image:
    """Find the image that a user asks for, unpack it if need be, and verify it.

    The first use of an image reads all of it; later ones take milliseconds. Of a stream or a build it is the image of
    QEMU, or that of the cloud: the one that the cloud has, else the file that was made for it.

    Args:
        reference: see ``FORMS``.
        cache: the user's kola cache folder; made if there is none.
        arch: what the machines shall be.
        progress: told of long steps as ``(what, bytes done, bytes in all)``.
        sources: where images are fetched from; None is Fedora's server, with Fedora's keys.
        cloud: where it shall boot; None is this host.
        described_by: ``image.json`` or ``meta.json`` that says what a ``cloud:ID`` is.

    Raises:
        ConfigError: there is no such image, it is damaged, or it is for another architecture.
    """
    if described_by is not None and not reference.startswith("cloud:"):
        raise ConfigError(
            f"--image-metadata {described_by}: only with --image cloud:ID, of which nothing is known otherwise; "
            f"the image is {reference}"
        )
    try:
        image = _Resolver(reference, cache, arch, progress, sources or Sources(), cloud).resolve()
        if described_by is not None:
            image = replace(image, **read_description(described_by))
    except OSError as e:
        raise ConfigError(f"image {reference}: {e.filename or cache}: {e.strerror}") from e
    if image.arch and image.arch != arch.name:
        raise ConfigError(f"image {reference}: is for {image.arch}, but the architecture of this run is {arch.name}")
    return image


@dataclass(frozen=True)
class _Resolver:
    """The arguments of ``resolve``."""

    reference: str
    cache: Path
    arch: Arch
    progress: Progress | None
    sources: Sources
    cloud: Cloud | None

    def resolve(self) -> Image:
        scheme, colon, rest = self.reference.partition(":")
        if scheme == "testos":
            return self._test_os(rest)
        if scheme == "cloud" and rest:
            return Image(Path(rest), "cloud", "", self.reference)
        path = Path(self.reference).expanduser()
        if path.exists():
            return self._from_path(path)
        if colon and scheme in {"stream", "build"}:
            return self._released(scheme, rest)
        raise ConfigError(f"image {self.reference}: no such file; accepted: {FORMS}")

    def _released(self, scheme: str, name: str) -> Image:
        """Return the image of a stream or a build for the platform."""
        where = self.cloud or Cloud(QEMU)
        if scheme == "stream":
            found = stream_image(name, where.platform, where.region, self.arch.name, self.sources)
        else:
            found = build_image(name, where.platform, where.region, self.arch.name)
        if found.artifact is None:
            known = Image(Path(found.image), "cloud", "", f"cloud:{found.reference}", stream=found.stream)
            return self._of_release(known, found.version, where.platform)
        if scheme == "stream":
            located = fetch(name, found.artifact, self.sources, self.cache, self.progress)
        else:
            located = find_in_build(name, found.artifact, self.arch.name)
        return self._published(located, where.platform)

    def _of_release(self, image: Image, version: str, platform: str) -> Image:
        return replace(
            image,
            name=image.name or "fedora-coreos",
            version=version,
            build_id=version,
            arch=self.arch.name,
            distro="fcos",
            platform=platform,
        )

    def _published(self, located: Located, platform: str) -> Image:
        """Return the image of a file whose metadata says more of it than its name."""
        image = self._from_path(located.path)
        artifact = located.artifact
        packed = inspect(located.path, self.cache, self.progress).sha256
        if artifact.sha256 not in {packed, image.sha256} and artifact.unpacked_sha256 != image.sha256:
            raise ConfigError(
                f"image {self.reference}: {located.path} has the SHA-256 {packed}, its metadata says {artifact.sha256}"
            )
        return replace(
            self._of_release(image, artifact.version, platform),
            stream=artifact.stream or image.stream,
            container=str(located.container.resolve()) if located.container is not None else image.container,
        )

    def _test_os(self, variant: str) -> Image:
        arch = self.arch.name
        folder = self.cache / "testos" / (f"{arch}-{variant}" if variant else arch)
        if not (folder / "image.json").exists():
            built = (
                f"ci/testos/build --variant {variant} (as root)" if variant else "ci/testos/build (as root) or ci/demo"
            )
            raise ConfigError(f"image {self.reference}: not built for {arch} (no {folder / 'image.json'}); run {built}")
        return self._from_path(folder)

    def _from_path(self, path: Path) -> Image:
        path, known = self._known(path)
        verdict = given = inspect(path, self.cache, self.progress)
        if known.get("sha256", verdict.sha256) != verdict.sha256:
            raise ConfigError(
                f"image {self.reference}: {path} has the SHA-256 {verdict.sha256}, "
                f"its image.json says {known['sha256']}"
            )
        platform = made_for(path)
        if verdict.format.startswith("."):
            path = unpack(path, verdict, self.cache, self.progress)
            verdict = self._unpacked_verdict(path)
        if self.cloud is None and verdict.format not in LOCAL_FORMATS:
            raise ConfigError(
                f"image {path}: is {FORMATS[verdict.format]}, for clouds; accepted: qcow2 and raw, also as .xz or .gz"
            )
        return Image(
            # Resolved: a rebuild may turn the symlink of the test OS to another folder while machines run on this one.
            path=path.resolve(),
            format=verdict.format,
            sha256=verdict.sha256,
            reference=self.reference,
            artifact_sha256=given.sha256,
            capabilities=frozenset(known["capabilities"]) if "capabilities" in known else None,
            ignition_max=known.get("ignition_max"),
            updates=known.get("updates"),
            container=known["updates"].releases[0].image if "updates" in known else "",
            platform=platform,
            **{name: known.get(name, "") for name in ("name", "version", "build_id", "arch", "distro", "stream")},
        )

    def _known(self, path: Path) -> tuple[Path, dict[str, Any]]:
        """Return the file of an image and what is known of it."""
        if not path.is_dir():
            return path, metadata_beside(path)
        source = path / "image.json"
        if not source.exists():
            raise ConfigError(f"image {self.reference}: the folder holds no image.json; accepted: {FORMS}")
        known = read_metadata(source)
        if "file" not in known:
            raise ConfigError(f"image {self.reference}: {source}: file: required, but missing")
        path = path / known["file"]
        if not path.exists():
            raise ConfigError(f"image {self.reference}: {source} names {known['file']}, which is not there")
        return path, known

    def _unpacked_verdict(self, path: Path) -> Verdict:
        verdict = inspect(path, self.cache, self.progress)
        if verdict.format.startswith("."):
            raise ConfigError(f"image {path}: is compressed twice; decompress it once by hand")
        return verdict
