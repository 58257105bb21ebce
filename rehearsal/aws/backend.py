"""moto's EC2, whose instances are machines of the host; stricter than moto where drivers go wrong.

moto keeps its state in its own modules: one such cloud a process.
"""

from __future__ import annotations

import base64
import copy
import functools
import subprocess
import time
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami
from moto.ec2.models.instances import StateReason
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import random_ami_id
from moto.s3.models import s3_backends

from rehearsal.aws.metadata import answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rehearsal.host import CloudHost

_GIB = 1 << 30
USER_DATA_LIMIT = 16384
_IMPORTED = {"VMDK": "vmdk", "RAW": "raw", "VHD": "vpc"}
"""Formats that ImportSnapshot takes, as qemu-img calls them."""


class HostBackend(EC2Backend):
    """EC2 in one region. ``host`` is set on a class of its own for each rehearsal.

    Attributes:
        ending_seconds: how long an instance is shutting down, its volumes and interfaces attached; and how long an
            import is being cancelled.
        import_seconds: how long an import takes.
    """

    host: CloudHost
    ending_seconds = 0.05
    import_seconds = 0.05

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.tokens: dict[str, Any] = {}
        self.import_tasks: dict[str, dict[str, Any]] = {}
        self.disks: dict[str, Any] = {}
        self._later: dict[str, tuple[float, Callable[[], object]]] = {}  # when, and what, by id

    def _load_amis(self) -> None:
        """Offer none of moto's images: they cannot be booted."""

    # -- images ------------------------------------------------------------------------------------------------------

    def add_ami(self, image: str, name: str, architecture: str, root: str = "/dev/xvda") -> str:
        """Offer an image of the host, with that name for its root device."""
        ami = Ami(self, random_ami_id(), name=name, architecture=architecture, root_device_name=root)
        self.amis[ami.id] = ami
        self.host.images[ami.id] = self.host.images[image]
        return str(ami.id)

    def import_disk(self, given: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
        """Begin to make a snapshot of an object in S3, whose format must be what the caller says."""
        container = given.get("DiskContainer") or {}
        where, kind = container.get("UserBucket") or {}, str(container.get("Format", "")).upper()
        if kind not in _IMPORTED or not where.get("S3Bucket") or not where.get("S3Key"):
            raise EC2ClientError(
                "MissingParameter", "DiskContainer: Format, UserBucket.S3Bucket and S3Key are required"
            )
        if token := given.get("ClientToken"):
            made = [task for task in self.import_tasks.values() if task["ClientToken"] == token]
            if made:
                return made[0]
        key = s3_backends[self.account_id]["aws"].get_object(where["S3Bucket"], where["S3Key"])
        if key is None:
            raise EC2ClientError("InvalidParameter", f"no object {where['S3Key']} in {where['S3Bucket']}")
        path = self.host.folder / f"import-{len(self.import_tasks)}"
        path.write_bytes(key.value)
        disk = path.with_suffix(".qcow2")
        command = ["qemu-img", "convert", "-f", _IMPORTED[kind], "-O", "qcow2", str(path), str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        path.unlink()
        task = {
            "ImportTaskId": f"import-snap-{len(self.import_tasks):017x}",
            "ClientToken": given.get("ClientToken"),
            "Description": given.get("Description", ""),
            "SnapshotTaskDetail": {
                "Status": "active",
                "Format": kind,
                "Progress": "0",
            },
            "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        }
        one = str(task["ImportTaskId"])
        error = "" if done.returncode == 0 else done.stderr.strip() or "no message"
        self.import_tasks[one] = task
        self._after(self.import_seconds, one, functools.partial(self._imported, task, disk, error))
        return task

    def _imported(self, task: dict[str, Any], disk: Path, error: str) -> None:
        """End an import: the snapshot carries no tags, not even those of the task."""
        detail = task["SnapshotTaskDetail"]
        if error:
            detail.update(Status="deleted", StatusMessage=error)
            return
        volume = self.create_volume(size=1, zone_name=f"{self.region_name}a")
        snapshot = self.create_snapshot(volume.id, task["Description"])
        self.delete_volume(volume.id)
        self.disks[snapshot.id] = disk
        detail.update(Status="completed", Progress="100", SnapshotId=snapshot.id)

    def running_imports(self) -> list[str]:
        """Return the ids of the imports that go on."""
        tasks = self.import_tasks.items()
        return [one for one, task in tasks if task["SnapshotTaskDetail"]["Status"] in {"active", "deleting"}]

    def cancel_import(self, one: str) -> dict[str, str]:
        """Begin to cancel an import that goes on."""
        detail = self.import_tasks[one]["SnapshotTaskDetail"]
        if detail["Status"] != "active":
            raise EC2ClientError("IncorrectState", f"the import task {one} is {detail['Status']}")
        detail["Status"] = "deleting"
        self._after(self.ending_seconds, one, lambda: detail.update(Status="deleted"))
        return {"ImportTaskId": one, "PreviousState": "active", "State": "deleting"}

    def register(self, given: dict[str, Any], tags: dict[str, str]) -> Ami:
        """Make an image of a snapshot."""
        mappings = given.get("BlockDeviceMappings") or []
        root = str(given.get("RootDeviceName") or "")
        snapshots = [each.get("Ebs", {}).get("SnapshotId") for each in mappings if each.get("DeviceName") == root]
        missing = [
            name for name in ("Name", "Architecture", "VirtualizationType", "RootDeviceName") if not given.get(name)
        ]
        if missing or not snapshots or snapshots[0] not in self.disks:
            raise EC2ClientError(
                "MissingParameter", f"RegisterImage: {missing or 'a known SnapshotId of the root device'}"
            )
        if any(ami.name == given["Name"] for ami in self.amis.values()):
            raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {given['Name']} is already in use")
        ami = Ami(
            self, random_ami_id(), name=given["Name"], architecture=given["Architecture"], tags=tags,
            root_device_name=root,
        )  # fmt: skip
        super().delete_snapshot(ami.ebs_snapshot.id)  # moto makes one of its own
        ami.ebs_snapshot = self.snapshots[snapshots[0]]
        ami.ebs_snapshot.from_ami = ami.id
        self.amis[ami.id] = ami
        self.host.add_image(ami.id, self.disks[snapshots[0]], "aws")
        return ami

    def delete_snapshot(self, snapshot_id: str) -> Any:
        """Delete a snapshot that has kola's tag, as the policy of the docs says, and no image that stands on it."""
        if snapshot_id in self.snapshots and "kola-run" not in self.tags[snapshot_id]:
            raise EC2ClientError("UnauthorizedOperation", f"You are not authorized to delete {snapshot_id}")
        for ami in self.amis.values():
            if ami.ebs_snapshot.id == snapshot_id:
                raise EC2ClientError("InvalidSnapshot.InUse", f"{snapshot_id} is in use by {ami.id}")
        return super().delete_snapshot(snapshot_id)

    # -- instances ---------------------------------------------------------------------------------------------------

    def run_instances(self, image_id: str, count: int, user_data: Any, security_group_names: Any, **given: Any) -> Any:
        """Make instances; the same token makes none again."""
        token = given.get("client_token")
        if token in self.tokens:
            return self.tokens[token]
        if image_id not in self.amis:
            raise EC2ClientError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
        data = base64.b64decode(str(user_data)) if user_data else b""
        if len(data) > USER_DATA_LIMIT:
            raise EC2ClientError("InvalidParameterValue", f"User data is limited to {USER_DATA_LIMIT} bytes")
        reservation = super().run_instances(image_id, count, user_data, security_group_names, **given)
        if token:
            self.tokens[token] = reservation
        kind = next(each for each in self.describe_instance_types([given["instance_type"]]))
        mappings = given.get("block_device_mappings", ())
        sizes = {mapping["DeviceName"]: mapping["Ebs"]["VolumeSize"] for mapping in mappings}
        root_gib = sizes.pop(self.amis[image_id].root_device_name, None)
        for instance in reservation.instances:
            machine = self.host.create(
                instance.id,
                image_id,
                user_data=data,
                memory_mib=kind["MemoryInfo"]["SizeInMiB"],
                vcpus=kind["VCpuInfo"]["DefaultVCpus"],
                disk_gib=root_gib,
                extra_gib=list(sizes.values()),
                metadata=answer,
                tags={"region": self.region_name, "type": given["instance_type"], "account": self.account_id},
            )
            instance.nics[0].public_ip = machine.address
        return reservation

    def refresh(self) -> None:
        """Let the states of the instances be those of the machines, and what takes its time be done when it is up."""
        for one, (due, _) in list(self._later.items()):
            if time.monotonic() >= due and (found := self._later.pop(one, None)):
                found[1]()
        for reservation in list(self.reservations.values()):
            for instance in reservation.instances:
                machine = self.host.machines.get(instance.id)
                if machine is None:
                    continue
                if machine.pending:
                    name, code = "pending", 0
                elif machine.running:
                    name, code = "running", 16
                else:
                    name, code = "stopped", 80
                if name == "stopped" and instance._state.name == "running":  # noqa: SLF001 - it has no setter
                    instance.state_reason = StateReason(
                        "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
                        "Client.InstanceInitiatedShutdown",
                    )
                instance._state.name, instance._state.code = name, code  # noqa: SLF001

    def _after(self, seconds: float, one: str, do: Callable[[], object]) -> None:
        """Do something for a resource at the first call after so many seconds, instead of what was to be done."""
        self._later[one] = (time.monotonic() + seconds, do)

    def hurry(self) -> None:
        """Let everything that takes its time be done at the next call."""
        self._later = {one: (0.0, do) for one, (_, do) in self._later.items()}

    def all_reservations(self, filters: Any = None) -> Any:
        """List instances in the states that their machines are in."""
        self.refresh()
        return super().all_reservations(filters)

    def terminate_instances(self, instance_ids: list[str]) -> Any:
        """Switch instances off for good; what is attached to them stays so for a moment. Again does nothing."""
        begun = []
        for instance in self.get_multi_instances_by_id(instance_ids):
            begun.append((instance, copy.copy(instance._state)))  # noqa: SLF001 - it has no setter
            if instance.state not in {"shutting-down", "terminated"}:
                self.host.delete(instance.id)
                instance._state.name, instance._state.code = "shutting-down", 32  # noqa: SLF001
                self._after(self.ending_seconds, instance.id, functools.partial(_end, instance))
        return begun

    def delete_network_interface(self, eni_id: str) -> None:
        """Delete a network interface that no instance has."""
        if eni_id in self.enis and self.enis[eni_id].status == "in-use":
            raise EC2ClientError("InvalidParameterValue", f"Network interface '{eni_id}' is currently in use.")
        super().delete_network_interface(eni_id)

    def stop_instances(self, instance_ids: list[str]) -> Any:
        """Cut the power of instances, but not of spot instances that are asked for once."""
        named: list[Any] = self.get_multi_instances_by_id(instance_ids)
        for instance in named:
            if instance.lifecycle == "spot" and instance.spot_type == "one-time":
                raise EC2ClientError(
                    "UnsupportedOperation",
                    f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot "
                    "Instance request. You can only stop Spot Instances associated with persistent Spot Instance "
                    "requests.",
                )
        stopped = super().stop_instances(instance_ids)
        for one in instance_ids:
            self.host.stop(one)
        return stopped

    def start_instances(self, instance_ids: list[str]) -> Any:
        """Switch instances on."""
        started = super().start_instances(instance_ids)
        for instance, _ in started:
            self.host.start(instance.id)
            instance.nics[0].public_ip = self.host.machines[instance.id].address
        return started

    def reboot_instances(self, instance_ids: list[str]) -> Any:
        """Cut the power and switch it on again."""
        found = super().reboot_instances(instance_ids)
        for one in instance_ids:
            self.host.reboot(one)
        return found


def _end(instance: Any) -> None:
    """Let go of what an instance has, and end it."""
    for nic in instance.nics.values():
        nic.status = "available"
    instance.terminate()


# -- actions that moto lacks, or answers from a can: methods of its EC2Response ----------------------------------------


def import_snapshot(response: Any) -> ActionResult:
    """ImportSnapshot."""
    given = {name: response._get_param(name) for name in ("ClientToken", "DiskContainer", "Description")}  # noqa: SLF001
    tags = response._parse_tag_specification("import-snapshot-task").get("import-snapshot-task", {})  # noqa: SLF001
    return ActionResult(response.ec2_backend.import_disk(given, tags))


def describe_import_snapshot_tasks(response: Any) -> ActionResult:
    """DescribeImportSnapshotTasks."""
    tasks = response.ec2_backend.import_tasks
    wanted = response._get_param("ImportTaskIds", [])  # noqa: SLF001
    if unknown := [one for one in wanted if one not in tasks]:
        raise EC2ClientError("InvalidConversionTaskId.Malformed", f"no import task {unknown[0]}")
    return ActionResult({"ImportSnapshotTasks": [tasks[one] for one in wanted] if wanted else list(tasks.values())})


def register_image(response: Any) -> ActionResult:
    """RegisterImage."""
    names = ("Name", "Architecture", "VirtualizationType", "RootDeviceName", "BlockDeviceMappings", "EnaSupport")
    given = {name: response._get_param(name) for name in (*names, "BootMode")}  # noqa: SLF001
    tags = response._parse_tag_specification("image").get("image", {})  # noqa: SLF001
    return ActionResult({"ImageId": response.ec2_backend.register(given, tags).id})


def get_console_output(response: Any) -> ActionResult:
    """GetConsoleOutput: the last 64 KiB of the machine's console."""
    instance = response.ec2_backend.get_instance(response._get_param("InstanceId"))  # noqa: SLF001
    machine = response.ec2_backend.host.machines.get(instance.id)
    text = "" if machine is None else machine.console()[-65536:]
    return ActionResult({"InstanceId": instance.id, "Output": Base64EncodedString.from_raw_string(text)})


def cancel_import_task(response: Any) -> ActionResult:
    """CancelImportTask."""
    return ActionResult(response.ec2_backend.cancel_import(response._get_param("ImportTaskId")))  # noqa: SLF001


def run_instances(response: Any) -> ActionResult:
    """RunInstances: moto's, which does not look at these options."""
    answer = InstanceResponse.run_instances(response)
    market = response._get_param("InstanceMarketOptions", {})  # noqa: SLF001
    made: Any = answer.result
    for instance in made.instances:
        instance.cpu_options = response._get_param("CpuOptions", {})  # noqa: SLF001
        instance.spot_type = market.get("SpotOptions", {}).get("SpotInstanceType", "one-time")
    return answer


ACTIONS = (
    import_snapshot,
    describe_import_snapshot_tasks,
    cancel_import_task,
    register_image,
    get_console_output,
    run_instances,
)
