"""Everything that the driver makes on AWS, as a sweep finds and deletes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from kola.cloud.sweep import Found, Kind
from kola.cloud.tags import Tags
from kola.retry import MissingError
from platforms.aws.clients import labels, pages, tag_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from platforms.aws.bucket import Bucket
    from platforms.aws.clients import Clients

_OURS = {"Name": "tag-key", "Values": ["kola-run"]}
_ALIVE = {
    "Name": "instance-state-name",
    "Values": ["pending", "running", "stopping", "stopped", "shutting-down"],
}
"""One that is shutting down still has its volumes and interfaces: the sweep has to wait for it before it goes on."""
_OVER = {"completed", "error", "deleted", "cancelled"}
"""Statuses of an import that goes on no more."""


class Resources:
    """The kinds, in the order in which they can be deleted.

    Args:
        clients: of the region.
        bucket: where objects are.
    """

    def __init__(self, clients: Clients, bucket: Bucket) -> None:
        self._ec2, self._s3, self._bucket = clients.ec2, clients.s3, bucket
        self._untagged: dict[str, Tags] = {}  # snapshots that an import made and that nobody came to tag

    def kinds(self) -> list[Kind]:
        """Return them."""
        ec2 = self._ec2
        return [
            Kind(
                "instance",
                self._instances,
                lambda one: ec2.terminate_instances(InstanceIds=[one]),
                self._not_terminated,
            ),
            Kind("import task", self._imports, self._cancel, self._importing),
            Kind("image", self._images, lambda one: ec2.deregister_image(ImageId=one)),
            Kind("snapshot", self._snapshots, self._delete_snapshot),
            Kind("volume", self._volumes, lambda one: ec2.delete_volume(VolumeId=one)),
            Kind(
                "network interface", self._interfaces, lambda one: ec2.delete_network_interface(NetworkInterfaceId=one)
            ),
            Kind("security group", self._groups, lambda one: ec2.delete_security_group(GroupId=one)),
            Kind("upload", self._uploads, self._abort),
            Kind("object", self._objects, lambda one: self._s3.delete_object(**self._bucket.place, Key=one)),
        ]

    def of_run(self, operation: str, key: str, run: str, **given: Any) -> Iterator[dict[str, Any]]:
        """Yield what carries the tags of a run."""
        filters = [{"Name": "tag:kola-run", "Values": [run]}, *given.pop("Filters", ())]
        return pages(self._ec2, operation, key, Filters=filters, **given)

    # -- finding -----------------------------------------------------------------------------------------------------

    def _tagged(self, operation: str, key: str, name: str, *filters: dict[str, Any], **given: Any) -> Iterator[Found]:
        for resource in pages(self._ec2, operation, key, Filters=[_OURS, *filters], **given):
            if tags := Tags.from_labels(labels(resource)):
                yield Found(resource[name], tags)

    def _instances(self) -> Iterator[Found]:
        for reservation in pages(self._ec2, "describe_instances", "Reservations", Filters=[_OURS, _ALIVE]):
            for instance in reservation["Instances"]:
                if tags := Tags.from_labels(labels(instance)):
                    yield Found(instance["InstanceId"], tags)

    def _not_terminated(self, ids: Sequence[str]) -> Iterable[str]:
        found = pages(self._ec2, "describe_instances", "Reservations", Filters=[_OURS, _ALIVE])
        return {instance["InstanceId"] for reservation in found for instance in reservation["Instances"]} & set(ids)

    def _tasks(self) -> Iterator[dict[str, Any]]:
        return pages(self._ec2, "describe_import_snapshot_tasks", "ImportSnapshotTasks")

    def _imports(self) -> Iterator[Found]:
        """Yield imports that go on: a snapshot would come of each, long after the sweep."""
        for task in self._tasks():
            tags = Tags.from_labels(labels(task))
            if tags and task["SnapshotTaskDetail"]["Status"] not in _OVER:
                yield Found(task["ImportTaskId"], tags)

    def _importing(self, ids: Sequence[str]) -> Iterable[str]:
        going_on = (task for task in self._tasks() if task["SnapshotTaskDetail"]["Status"] not in _OVER)
        return {task["ImportTaskId"] for task in going_on} & set(ids)

    def _images(self) -> Iterator[Found]:
        return self._tagged("describe_images", "Images", "ImageId", Owners=["self"])

    def _snapshots(self) -> Iterator[Found]:
        """Yield snapshots with tags, and those that an import made and that nobody came to tag."""
        seen = set()
        for found in self._tagged("describe_snapshots", "Snapshots", "SnapshotId", OwnerIds=["self"]):
            seen.add(found.id)
            yield found
        for task in self._tasks():
            snapshot = task["SnapshotTaskDetail"].get("SnapshotId")
            tags = Tags.from_labels(labels(task))
            if snapshot and snapshot not in seen and tags and self._exists(snapshot):
                self._untagged[snapshot] = tags
                yield Found(snapshot, tags)

    def _exists(self, snapshot: str) -> bool:
        wanted = {"Name": "snapshot-id", "Values": [snapshot]}
        found = self._ec2.describe_snapshots(OwnerIds=["self"], Filters=[wanted])
        return bool(found["Snapshots"])

    def _volumes(self) -> Iterator[Found]:
        return self._tagged("describe_volumes", "Volumes", "VolumeId")

    def _interfaces(self) -> Iterator[Found]:
        return self._tagged("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId")

    def _groups(self) -> Iterator[Found]:
        return self._tagged("describe_security_groups", "SecurityGroups", "GroupId")

    def _objects(self) -> Iterator[Found]:
        return self._stored("list_objects_v2", "Contents", ("Key",))

    def _uploads(self) -> Iterator[Found]:
        return self._stored("list_multipart_uploads", "Uploads", ("UploadId", "Key"))

    def _stored(self, operation: str, key: str, parts: tuple[str, ...]) -> Iterator[Found]:
        try:
            for one in pages(self._s3, operation, key, **self._bucket.place, Prefix="kola-run="):
                if tags := Tags.from_text(one["Key"].replace("/", " ")):
                    yield Found(" ".join(one[part] for part in parts), tags)
        except self._s3.exceptions.NoSuchBucket:  # nothing was ever stored
            return

    # -- deleting ----------------------------------------------------------------------------------------------------

    def _cancel(self, task: str) -> None:
        try:
            self._ec2.cancel_import_task(ImportTaskId=task)
        except ClientError as e:
            if self._importing([task]):
                raise
            raise MissingError(f"{task} is over") from e

    def _delete_snapshot(self, snapshot: str) -> None:
        """Delete a snapshot, tagged as the policy of the docs demands of whatever is deleted."""
        if tags := self._untagged.get(snapshot):
            self._ec2.create_tags(Resources=[snapshot], Tags=tag_list(tags))
        self._ec2.delete_snapshot(SnapshotId=snapshot)

    def _abort(self, one: str) -> None:
        upload, _, key = one.partition(" ")
        try:
            self._s3.abort_multipart_upload(**self._bucket.place, Key=key, UploadId=upload)
        except self._s3.exceptions.NoSuchUpload as e:
            raise MissingError(str(e)) from e
