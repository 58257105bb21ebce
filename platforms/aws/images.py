"""From a disk image on this host to an AMI: converted, uploaded in parts, imported as a snapshot, registered."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from kola.cloud.disks import as_vmdk
from kola.errors import PlatformError, WaitTimeout
from kola.retry import MissingError
from kola.wait import Deadline, wait_until
from platforms.aws.clients import once, tag_list, tagged

if TYPE_CHECKING:
    from pathlib import Path

    from kola.cloud.tags import Tags
    from kola.imagefile import Progress
    from kola.images import Image
    from kola.retry import Caller
    from platforms.aws.bucket import Bucket
    from platforms.aws.clients import Clients
    from platforms.aws.options import Options

PART_BYTES = 16 << 20
"""S3 takes up to 10,000 parts of at least 5 MiB."""
IMPORT_SECONDS = 3600.0
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
_ROOT = "/dev/xvda"
_CHECKSUM = {"ChecksumAlgorithm": "CRC32"}
"""Of an upload and of each of its parts: S3 refuses a part with another one than the upload was begun with."""


def recipe(options: Options, arch: str) -> str:
    """Return what beside its content decides what an AMI is like."""
    return f"aws 1 {arch} tpm={options.tpm}"


def object_key(tags: Tags, file: str) -> str:
    """Return the name of an object: listing a bucket then tells whose each is, without a call for each."""
    return f"{tags.as_text().replace(' ', '/')}/{file}"


class Publisher:
    """Makes AMIs.

    Args:
        clients: of the region.
        options: of the platform.
        call: tries again.
        bucket: where the disk goes on its way.
    """

    interval = 5.0
    """Seconds between two looks at an import."""
    progress: Progress | None = None
    """Told of long steps: ``(what, bytes done, bytes in all)``."""

    def __init__(self, clients: Clients, options: Options, call: Caller, bucket: Bucket) -> None:
        self._clients = clients
        self._options = options
        self._call = call
        self._bucket = bucket

    def publish(self, image: Image, name: str, tags: Tags, arch: str, scratch: Path) -> str:
        """Upload an image and register it; what was needed on the way is gone afterwards.

        Raises:
            ConfigError: the image cannot be converted.
            PlatformError: a step failed; what it left carries the tags.
        """
        key = object_key(tags, "disk.vmdk")
        with as_vmdk(image, scratch) as disk:
            self.upload(disk, key)
        try:
            snapshot = self._import(key, tags)
        finally:
            with contextlib.suppress(MissingError):
                self._call(self._clients.s3.delete_object, **self._bucket.place, Key=key)
        return self._register(snapshot, name, tags, arch)

    def upload(self, path: Path, key: str) -> None:
        """Send a file in parts, each of which is sent again if need be; memory for one part."""
        s3, where = self._clients.s3, {**self._bucket.place, "Key": key}
        upload = self._call(s3.create_multipart_upload, **where, **_CHECKSUM)["UploadId"]
        parts: list[dict[str, Any]] = []
        total = path.stat().st_size
        try:
            with path.open("rb") as file:
                while piece := file.read(PART_BYTES):
                    number = len(parts) + 1
                    given = {"UploadId": upload, "PartNumber": number, "Body": piece}
                    sent = self._call(s3.upload_part, **where, **given, **_CHECKSUM)
                    parts.append({"PartNumber": number, **{name: sent[name] for name in ("ETag", "ChecksumCRC32")}})
                    if self.progress is not None:
                        self.progress(f"uploading to {self._bucket.name}", file.tell(), total)

            def complete() -> None:
                s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})

            self._call(once(complete, "NoSuchUpload", lambda: s3.head_object(**where)))
        except BaseException:
            with contextlib.suppress(PlatformError):  # the sweep aborts it otherwise
                self._call(s3.abort_multipart_upload, **where, UploadId=upload)
            raise

    def _import(self, key: str, tags: Tags) -> str:
        """Make a snapshot of an object, and tag it."""
        ec2 = self._clients.ec2
        made = self._call(
            ec2.import_snapshot,
            ClientToken=secrets.token_hex(16),
            RoleName=self._options.import_role,
            DiskContainer={"Format": "VMDK", "UserBucket": {"S3Bucket": self._bucket.name, "S3Key": key}},
            TagSpecifications=tagged(tags, "import-snapshot-task"),
        )
        task = made["ImportTaskId"]

        def finished() -> str:
            found = self._call.fresh(ec2.describe_import_snapshot_tasks, ImportTaskIds=[task])["ImportSnapshotTasks"][0]
            detail = found["SnapshotTaskDetail"]
            if detail["Status"] in {"error", "deleted", "deleting", "cancelled"}:
                raise PlatformError(f"AWS cannot import the image: {detail.get('StatusMessage') or detail['Status']}")
            if self.progress is not None:
                self.progress("importing the snapshot", int(detail.get("Progress") or 0), 100)
            return str(detail["SnapshotId"]) if detail["Status"] == "completed" else ""

        try:
            limit = Deadline(IMPORT_SECONDS * self._options.slowness)
            snapshot = wait_until(finished, limit, what="the import of the image", interval=self.interval)
        except WaitTimeout as e:
            raise PlatformError(str(e)) from e
        self._call.fresh(ec2.create_tags, Resources=[snapshot], Tags=tag_list(tags))
        return snapshot

    def _register(self, snapshot: str, name: str, tags: Tags, arch: str) -> str:
        given: dict[str, Any] = {"TpmSupport": "v2.0"} if self._options.tpm else {}
        ec2 = self._clients.ec2
        request: dict[str, Any] = dict(
            Name=name,
            Architecture=ARCHITECTURES[arch],
            BootMode="uefi" if arch == "aarch64" or self._options.tpm else "uefi-preferred",
            VirtualizationType="hvm",
            EnaSupport=True,
            SriovNetSupport="simple",
            ImdsSupport="v2.0",
            RootDeviceName=_ROOT,
            BlockDeviceMappings=[
                {
                    "DeviceName": _ROOT,
                    "Ebs": {"SnapshotId": snapshot, "DeleteOnTermination": True, "VolumeType": "gp3"},
                }
            ],
            TagSpecifications=tagged(tags, "image"),
            **given,
        )

        def register() -> str:
            return str(ec2.register_image(**request)["ImageId"])

        def registered() -> str:
            named = [{"Name": "name", "Values": [name]}]
            return str(ec2.describe_images(Owners=["self"], Filters=named)["Images"][0]["ImageId"])

        return self._call.fresh(once(register, "InvalidAMIName.Duplicate", registered))
