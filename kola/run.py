"""One run: its id, its folders, its keys, its reaper. Made once, in the controller; workers get the plain data."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kola import ignition, images
from kola.arch import get_arch
from kola.clonecache import Limits
from kola.errors import ConfigError, PlatformError
from kola.filelock import FileLock
from kola.keys import generate_key, write_client_key
from kola.platform import Prepared, RunContext, load_platform, parse_options
from kola.reaper import SOCKET, start_reaper
from kola.upgrades import updated_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kola.imagefile import Progress
    from kola.options import Settings
    from kola.platform import Platform
    from kola.reaper import Reaper


@dataclass(frozen=True)
class RunInfo:
    """What every process of a run has to know.

    Attributes:
        run_id: tags everything that the run creates.
        platform: as given to ``--platform``.
        options: the platform's ``Options``.
        output: the run's own folder below ``--kola-output``.
        workers: number of processes that boot machines.
        clone: whether machines are cloned where that is possible.
        clone_limits: how many saved machines are kept in the cache.
        additions: what the config of every machine is merged with; None if it is nothing.
        from_image: what tests of updates boot, if it is not ``image``, which is then what they update to.
        from_prepared: of that image.
        scratch: short-lived files, among them secrets; gone after the run.
    """

    run_id: str
    owner: str
    platform: str
    options: Any
    arch: str
    image: images.Image
    prepared: Prepared
    output: Path
    scratch: Path
    cache: Path
    budget_mib: int
    keep_machines: str
    workers: int
    clone: bool = False
    clone_limits: Limits = field(default_factory=Limits)
    additions: ignition.Config | None = None
    from_image: images.Image | None = None
    from_prepared: Prepared | None = None

    @property
    def reaper_socket(self) -> Path:
        """Where workers attach to the process that cleans up after the run."""
        return self.scratch / SOCKET

    @property
    def updated(self) -> bool:
        """Whether this is the run as tests of updates see it."""
        return self.image is self.from_image

    def for_updates(self) -> RunInfo:
        """Return the run as tests of updates see it: its image is the one to update from."""
        if self.from_image is None or self.from_prepared is None:
            return self
        return dataclasses.replace(self, image=self.from_image, prepared=self.from_prepared)

    def context(self, worker: str) -> RunContext:
        """Return what the driver of one process has to know."""
        return RunContext(self.run_id, self.owner, worker, self.output / "machines", self.scratch, self.cache)

    def load(self, worker: str) -> Platform:
        """Construct the platform for one process of the run."""
        return load_platform(self.platform)(self.options, get_arch(self.arch), self.context(worker))

    def to_plain(self) -> dict[str, Any]:
        """Return builtin types only: the way to xdist's workers carries nothing else."""
        plain = asdict(self)
        plain["image"] = self.image.to_plain()
        plain["from_image"] = self.from_image.to_plain() if self.from_image else None
        for key in ("output", "scratch", "cache"):
            plain[key] = str(plain[key])
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> RunInfo:
        """Return what ``to_plain`` took apart."""
        from_image, from_prepared = plain["from_image"], plain["from_prepared"]
        paths = {key: Path(plain[key]) for key in ("output", "scratch", "cache")}
        return cls(
            **{
                **plain,
                **paths,
                "options": load_platform(plain["platform"]).Options(**plain["options"]),
                "image": images.Image.from_plain(plain["image"]),
                "prepared": _prepared(plain["prepared"]),
                "from_image": images.Image.from_plain(from_image) if from_image else None,
                "from_prepared": _prepared(from_prepared) if from_prepared else None,
                "clone_limits": Limits(**plain["clone_limits"]),
                "additions": ignition.Config(**plain["additions"]) if plain["additions"] else None,
            }
        )


def _prepared(plain: dict[str, Any]) -> Prepared:
    return Prepared(**{**plain, "notes": tuple(plain["notes"])})


@dataclass(frozen=True)
class Run:
    """A run in its controller: what every process has to know, this one's platform, and the hold on the reaper."""

    info: RunInfo
    platform: Platform
    reaper: Reaper


REMOTE_MIB = 1 << 30
"""The budget where machines take no memory of this host: as good as none."""
CLIENT_KEY = "ssh/id_ed25519"
KNOWN_HOSTS = "ssh/known_hosts"


@contextlib.contextmanager
def start_run(settings: Settings, workers: int, progress: Progress | None = None) -> Iterator[Run]:
    """Check everything that the user gave, then open the run; at the end nothing of it is left but what is kept.

    Args:
        settings: of the user.
        workers: number of processes that will boot machines.
        progress: told while an image is unpacked or read: ``(what, bytes done, bytes in all)``.

    Raises:
        ConfigError: unknown platform or option, missing or broken image or config, output folder not writable or
            another run's.
        PlatformError: the platform does not work.
    """
    if settings.platform is None:
        raise ConfigError("no platform given")
    platform_class = load_platform(settings.platform)
    options = parse_options(platform_class, settings.platform_options)
    if settings.image is None:
        ini = settings.ini or "the ini file"
        raise ConfigError(f"no image: give --image (pytest: or kola_image in {ini}): {images.FORMS}")
    where: dict[str, Any] = {
        "cache": settings.cache, "arch": settings.arch, "progress": progress, "sources": settings.sources,
        "cloud": images.Cloud.of(platform_class, options),
    }  # fmt: skip
    image = images.resolve(settings.image, described_by=settings.image_metadata, **where)
    from_image = updated_to(image, settings.from_image, **where) if settings.from_image else None

    additions = settings.additions.read()
    for booted in (image, from_image):
        if additions and booted and (why := ignition.too_new_for(additions, booted.ignition_max)):
            raise ConfigError(why)

    if image.format == "cloud" and not platform_class.remote:
        raise ConfigError(
            f"--image {settings.image}: platform {settings.platform} is no cloud; accepted: {images.FORMS}"
        )
    run_id = secrets.token_hex(4)
    with _hold_name(settings.output, settings.run_name, run_id):
        info = RunInfo(
            run_id=run_id,
            owner=settings.owner,
            platform=settings.platform,
            options=options,
            arch=settings.arch.name,
            image=image,
            prepared=Prepared("", ""),
            output=_output_folder(settings.output, run_id, settings.run_name),
            scratch=Path(tempfile.mkdtemp(prefix=f"kola-{run_id}-")),
            cache=settings.cache,
            budget_mib=REMOTE_MIB if platform_class.remote else settings.memory_budget_mib,
            keep_machines=settings.keep_machines,
            workers=workers,
            clone=settings.clone,
            clone_limits=settings.clone_limits,
            additions=additions,
            from_image=from_image,
        )
        try:
            reaper = start_reaper(
                info.platform, asdict(options), info.arch, info.context("main"), log=info.output / "reaper.log"
            )
        except BaseException:
            shutil.rmtree(info.scratch)
            raise
        with reaper:  # from here on it is the reaper who removes the scratch folder
            try:
                platform = info.load("main")
                platform.progress = progress
                reaper.patience = platform.sweep_seconds
                info = dataclasses.replace(info, prepared=platform.prepare(image))
                if from_image is not None:
                    info = dataclasses.replace(info, from_prepared=platform.prepare(from_image))
            except (ConfigError, PlatformError):  # there is no run, and nothing to read of it
                shutil.rmtree(info.output)
                raise
            _point_latest(info.output, run_id)
            write_client_key(info.scratch / CLIENT_KEY, generate_key())
            yield Run(info, platform, reaper)


@contextlib.contextmanager
def _hold_name(parent: Path, name: str, run_id: str) -> Iterator[None]:
    """Keep other runs out of a folder that was given by name while this one works in it.

    It is a lock: one that is killed holds nothing. Its file stays.
    """
    if not name:  # nobody else has that folder
        yield
        return
    path = parent / f".{name}.lock"
    with contextlib.ExitStack() as stack:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(FileLock(path))
            if not lock.try_take():
                holder = path.read_text() or "another run"  # which has not written yet who it is
                raise ConfigError(f"--run-name {name}: {holder} works in {parent / name}; give this one another name")
            path.write_text(f"run {run_id} (pid {os.getpid()})")
        except OSError as e:
            raise ConfigError(f"--kola-output {parent}: {e.strerror}") from e
        yield


def _output_folder(parent: Path, run_id: str, name: str) -> Path:
    folder = parent / (name or f"{time.strftime('%Y%m%d-%H%M%S')}-{run_id}")
    try:
        if name and folder.exists():
            _remove_run(folder, run_id)
        (folder / "machines").mkdir(parents=True)
    except OSError as e:
        raise ConfigError(f"--kola-output {parent}: {e.strerror}") from e
    return folder


def _point_latest(folder: Path, run_id: str) -> None:
    draft = folder.with_name(f".latest-{run_id}")
    try:
        draft.symlink_to(folder.name)
        draft.replace(folder.with_name("latest"))
    except OSError as e:
        raise ConfigError(f"--kola-output {folder.parent}: {e.strerror}") from e


def _remove_run(folder: Path, run_id: str) -> None:
    """Make room for a run of the same name; nothing else than a run is removed."""
    if not (folder / "machines").is_dir():
        raise ConfigError(f"--run-name {folder.name}: {folder} is there, and is not the folder of a run")
    old = folder.rename(folder.with_name(f".{folder.name}-{run_id}"))
    shutil.rmtree(old)
