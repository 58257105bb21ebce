"""The cache folder: one build at a time, results that appear whole or not at all, old ones pruned."""

import fcntl
import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .output import Output
from .plan import Step

# Images kept beside those in use; stage results kept for each stage.
KEEP_IMAGES = 2
KEEP_STAGES = 6


def _sudo_user() -> pwd.struct_passwd | None:
    name = os.environ.get("SUDO_USER")
    return pwd.getpwnam(name) if name and os.geteuid() == 0 else None


def _home() -> Path:
    """Under sudo, the home of the person and not root's: that is where kola, which runs without root, looks."""
    user = _sudo_user()
    return Path(user.pw_dir) if user else Path.home()


@dataclass(frozen=True)
class Cache:
    """Where results live."""

    folder: Path

    @classmethod
    def default(cls) -> "Cache":
        """The folder that the rest of kola uses."""
        base = os.environ.get("KOLA_CACHE")
        if base:
            return cls(Path(base) / "testos")
        caches = os.environ.get("XDG_CACHE_HOME")
        return cls((Path(caches) if caches else _home() / ".cache") / "kola" / "testos")

    @property
    def stages(self) -> Path:
        """Results of the stages before the last."""
        return self.folder / "stages"

    @property
    def scratch(self) -> Path:
        """Work in progress; whoever holds the lock owns all of it."""
        return self.folder / "tmp"

    def place(self, step: Step) -> Path:
        """The folder of a step's result."""
        return self.folder / step.key if step.stage.name == "image" else self.stages / f"{step.stage.name}-{step.key}"

    def make(self) -> None:
        """Make the folder; under sudo, what is above it belongs to the person, whose tools use it too."""
        missing = [path for path in self.folder.parents if not path.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        user = _sudo_user()
        for path in missing:
            if user:
                os.chown(path, user.pw_uid, user.pw_gid)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the cache; wait for another build, and say so."""
        self.make()
        with (self.folder / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip() or "?"
                print(f"    another build is running (process {owner}): waiting for it", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield

    def refreshed(self) -> dict[str, str]:
        """Stage -> when somebody asked for it to run again; part of its key."""
        file = self.folder / "refreshed.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    def refresh(self, stage: str) -> None:
        """Give a stage a new key though nothing that we know of has changed."""
        self.make()
        fresh = self.folder / f".refreshed.{os.getpid()}"
        fresh.write_text(json.dumps({**self.refreshed(), stage: datetime.now(tz=UTC).isoformat()}))
        fresh.replace(self.folder / "refreshed.json")

    def clean_scratch(self) -> None:
        """Remove what a killed build left. Its mounts went with its namespace."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder for the duration of one stage."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, built: Path, final: Path) -> None:
        """Make a result visible, in one step."""
        final.parent.mkdir(parents=True, exist_ok=True)
        built.chmod(0o755)
        built.rename(final)

    def point(self, name: str, key: str) -> None:
        """Replace the link to the current image, in one step."""
        link = self.folder / name
        if link.is_symlink() and str(link.readlink()) == key:
            return
        fresh = self.folder / f".{name}.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(key)
        fresh.replace(link)

    def prune(self, output: Output, *, keep: set[Path]) -> None:
        """Remove all but the newest results; never those just used, nor images that a link names."""
        linked = {path.resolve() for path in self.folder.iterdir() if path.is_symlink()}
        images = [path.parent for path in self.folder.glob("*/image.json") if not path.parent.is_symlink()]
        images = [path for path in images if path not in linked]
        groups = [(images, KEEP_IMAGES)]
        names = {path.name.rpartition("-")[0] for path in self.stages.iterdir()}
        groups += [(list(self.stages.glob(f"{name}-*")), KEEP_STAGES) for name in sorted(names)]
        for paths, count in groups:
            newest = sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)
            for path in newest[count:]:
                if path not in keep:
                    output.note(f"removing the old {path.name}")
                    self._remove(path)

    def _remove(self, result: Path) -> None:
        """Remove a result in one step: of one whose removal is cut short, what is left must not pass for all of it."""
        with self.workspace() as folder:
            result.rename(folder / result.name)
