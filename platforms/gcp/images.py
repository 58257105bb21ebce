"""From a disk image on this host to an image of Compute Engine: packed and uploaded in one go, then made."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import Conflict, NotFound

from kola.cloud.disks import as_raw
from kola.errors import ConfigError, PlatformError
from kola.retry import MissingError
from platforms.gcp.clients import SECONDS, new_token
from platforms.gcp.request import resource_name
from platforms.gcp.upload import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.cloud.storage import Blob, Bucket

    from kola.cloud.tags import Tags
    from kola.imagefile import Progress
    from kola.images import Image
    from kola.retry import Caller
    from platforms.gcp.clients import Clients
    from platforms.gcp.options import Options

ARCHITECTURES = {"x86_64": "X86_64", "aarch64": "ARM64"}
FEATURES = {
    "X86_64": (
        *("GVNIC", "IDPF", "SEV_CAPABLE", "SEV_SNP_CAPABLE", "TDX_CAPABLE", "UEFI_COMPATIBLE"),
        "VIRTIO_SCSI_MULTIQUEUE",
    ),
    "ARM64": ("GVNIC", "IDPF", "UEFI_COMPATIBLE"),
}
"""Of the guest's system, as Fedora CoreOS's own images say it."""
OBJECTS = "kola/"
"""What the names of all our objects begin with."""
_GIB = 1 << 30
_KEEP_DAYS = 8


@dataclass(frozen=True)
class Reference:
    """An image, or the newest of a family."""

    project: str
    name: str
    family: bool = False

    @classmethod
    def parse(cls, text: str, project: str) -> Reference:
        """Read ``NAME``, ``family/NAME``, ``PROJECT/NAME``, ``PROJECT/family/NAME`` or a whole path.

        Args:
            text: the user's.
            project: where it is if that does not say.

        Raises:
            ConfigError: anything else.
        """
        plain = text.replace("/global/images/", "/").rpartition("projects/")[2]
        match = re.fullmatch(r"(?:(?P<project>(?!family/)[^/]+)/)?(?P<family>family/)?(?P<name>[^/]+)", plain)
        if match is None:
            forms = "NAME, family/NAME, PROJECT/NAME, PROJECT/family/NAME, projects/PROJECT/global/images/NAME"
            raise ConfigError(f"--image cloud:{text}: expected cloud: and {forms}")
        return cls(match["project"] or project, match["name"], match["family"] is not None)

    def __str__(self) -> str:
        return f"projects/{self.project}/global/images/{'family/' if self.family else ''}{self.name}"


def object_name(tags: Tags, file: str) -> str:
    """Return the name of an object; whose it is says its metadata."""
    return f"{OBJECTS}{tags.run}/{tags.name or 'image'}/{file}"


class Store:
    """The bucket; it is nobody's in particular, and stays.

    Args:
        clients: of the project.
        options: of the platform.
    """

    def __init__(self, clients: Clients, options: Options) -> None:
        self._clients = clients
        self._options = options
        self.name: str = options.bucket or f"kola-{re.sub(r'[^a-z0-9-]', '-', clients.project)}"

    def bucket(self) -> Bucket:
        """Return it without a look whether it is there."""
        return self._clients.storage.bucket(self.name)

    def ready(self) -> Bucket:
        """Return it, made if need be: under the name that it has by default only in our own project.

        Names are those of the whole world, and whoever guessed it could read what is stored there, or change it.

        Raises:
            ConfigError: the user named it, and it is not there; or it is somebody else's.
        """
        storage, given = self._clients.storage, {"retry": None, "timeout": SECONDS}
        if self._options.bucket:
            try:
                return storage.get_bucket(self.name, **given)
            except NotFound:
                project = self._clients.project
                raise ConfigError(f"-P bucket={self.name}: no such bucket, in project {project} or another") from None
        bucket = self.bucket()
        if self._is_ours():
            return bucket
        bucket.iam_configuration.uniform_bucket_level_access_enabled = True
        bucket.iam_configuration.public_access_prevention = "enforced"
        bucket.add_lifecycle_delete_rule(age=_KEEP_DAYS)
        try:
            storage.create_bucket(bucket, location=self._options.bucket_location, **given)
        except Conflict:
            if not self._is_ours():  # else another run of ours has just made it
                raise ConfigError(
                    f"platform gcp: the bucket {self.name} is not in project {self._clients.project}: somebody else "
                    "has that name; make one of another name and say which: -P bucket=NAME"
                ) from None
        return bucket

    def _is_ours(self) -> bool:
        given = {"retry": None, "timeout": SECONDS}
        found = self._clients.storage.list_buckets(prefix=self.name, project=self._clients.project, **given)
        return any(bucket.name == self.name for bucket in found)

    def blob(self, tags: Tags, file: str) -> Blob:
        """Return an object that will carry the tags."""
        blob = self.bucket().blob(object_name(tags, file))
        blob.metadata = tags.as_labels()
        return blob

    def objects(self) -> Iterator[Blob]:
        """Yield all our objects."""
        given = {"prefix": OBJECTS, "retry": None, "timeout": SECONDS}
        with contextlib.suppress(NotFound):  # nothing was ever stored
            yield from self._clients.storage.list_blobs(self.name, **given)

    def delete(self, name: str) -> None:
        """Delete an object."""
        self.bucket().blob(name).delete(retry=None, timeout=SECONDS)


class Publisher:
    """Makes images.

    Args:
        clients: of the project.
        store: where the disk goes on its way.
        call: tries again.
        progress: told of long steps: ``(what, bytes done, bytes in all)``.
    """

    def __init__(self, clients: Clients, store: Store, call: Caller, progress: Progress | None) -> None:
        self._clients = clients
        self._store = store
        self._call = call
        self._progress = progress

    def publish(self, image: Image, name: str, tags: Tags, arch: str, scratch: Path) -> str:
        """Upload a disk and make an image of it; the object is gone afterwards.

        Raises:
            ConfigError: the image cannot be converted.
            PlatformError: a step failed; what it left carries the tags.
        """
        self._call(self._store.ready)
        blob = self._store.blob(tags, "disk.tar.gz")
        with raw_disk(image, scratch) as disk:
            self.upload(disk, blob)
        try:
            return self._make(name, blob, tags, ARCHITECTURES[arch])
        finally:
            with contextlib.suppress(MissingError):
                self._call(self._store.delete, blob.name)

    def upload(self, disk: Path, blob: Blob) -> int:
        """Pack a disk and send it at once, without a file between; return the bytes sent."""
        url = self._call(
            blob.create_resumable_upload_session, content_type="application/gzip", retry=None, timeout=SECONDS
        )
        most = disk.stat().st_blocks * 512
        what = f"uploading to {self._store.name}, packed"

        def told(done: int) -> None:
            if self._progress is not None:
                self._progress(what, done, max(done, most))

        # The format of old is what Google asks for, and the only one with holes that it reads.
        command = ["tar", "--create", "--gzip", "--sparse", "--format=oldgnu", "--owner=0", "--group=0", "--mtime=@0"]
        command += ["--directory", str(disk.parent), disk.name]
        with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as tar:

            def close() -> None:
                if tar.wait() != 0:
                    said.seek(0)
                    raise PlatformError(f"tar: {said.read().decode(errors='replace').strip()[:200]}")

            assert tar.stdout is not None  # noqa: S101 - for the type checker
            try:
                return Upload(self._clients.session, url, self._call).send(tar.stdout, told, close)
            finally:
                tar.kill()

    def _make(self, name: str, blob: Blob, tags: Tags, architecture: str) -> str:
        common = {
            "labels": tags.as_labels(),
            "architecture": architecture,
            "guest_os_features": [{"type_": feature} for feature in FEATURES[architecture]],
            "raw_disk": {"source": f"https://storage.googleapis.com/{self._store.name}/{blob.name}"},
        }

        def wanted(token: str) -> dict[str, Any]:  # an operation that failed leaves an image that is FAILED
            return {"image_resource": {**common, "name": resource_name(name, token)}}

        token = self._clients.make(self._call, self._clients.images.insert_unary, new_token(), wanted)
        return str(Reference(self._clients.project, resource_name(name, token)))


@contextlib.contextmanager
def raw_disk(image: Image, scratch: Path) -> Iterator[Path]:
    """Yield an image as Google imports it: raw, with that name, of whole GiB."""
    with as_raw(image, scratch) as disk:
        size = disk.stat().st_size
        with disk.open("r+b") as file:
            file.truncate(-(-size // _GIB) * _GIB)
        yield disk
