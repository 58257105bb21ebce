"""The aws platform: what is particular to EC2; the rest is in ``kola.cloud``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

from kola.cloud.options import words
from kola.cloud.platform import CloudPlatform
from kola.cloud.states import Phase, State
from kola.cloud.tags import label
from kola.errors import ConfigError, PlatformError
from kola.retry import CapacityError, MissingError
from kola.spec import Capability
from platforms.aws import clients, images
from platforms.aws.bucket import Bucket
from platforms.aws.clients import Clients, once, tag_list, tagged
from platforms.aws.options import Options as AwsOptions
from platforms.aws.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kola.arch import Arch
    from kola.cloud.platform import Order
    from kola.cloud.sizes import InstanceType
    from kola.cloud.sweep import Kind
    from kola.cloud.tags import Tags
    from kola.images import Image
    from kola.platform import Prepared, RunContext
    from kola.retry import Verdict

_PHASES = {
    "pending": Phase.PENDING,
    "running": Phase.RUNNING,
    "stopping": Phase.PENDING,
    "stopped": Phase.STOPPED,
    "shutting-down": Phase.GONE,
    "terminated": Phase.GONE,
}
_URL_SECONDS = 3600
_NO_POWER = "EC2 stops no spot instance that is asked for once: not with -P spot"
_LETTERS = "fghijklmnop"
"""Of the devices that AWS recommends for more disks."""


class Aws(CloudPlatform):
    """EC2 through boto3."""

    name: ClassVar[str] = "aws"
    Options: ClassVar[type[Any]] = AwsOptions
    ignition_platform: ClassVar[str] = "aws"
    user_data_limit: ClassVar[int] = 16384
    types_table: ClassVar[Path] = Path(__file__).with_name("types.toml")

    def __init__(self, options: AwsOptions, arch: Arch, context: RunContext) -> None:
        super().__init__(options, arch, context)
        self._clients = Clients(options)
        self._bucket = Bucket(self._clients, options.bucket)
        self._resources = Resources(self._clients, self._bucket)
        self._group = options.security_group
        self._subnets: dict[str, str] = {}  # by zone
        self._roots: dict[str, str] = {}  # devices, by AMI

    def classify(self, error: Exception) -> Verdict | None:
        """Tell what an error of boto3 means."""
        return clients.classify(error)

    def prepare(self, image: Image | None) -> Prepared:
        """See ``Platform.prepare``; spot instances lack a power switch."""
        prepared = super().prepare(image)
        if not self.options.spot:
            return prepared
        return dataclasses.replace(prepared, lacks={**prepared.lacks, Capability.HARD_RESET.value: _NO_POWER})

    # -- before anything is made -------------------------------------------------------------------------------------

    def identify(self) -> str:
        """Ask STS who we are."""
        if self.arch.name not in images.ARCHITECTURES:
            allowed = ", ".join(images.ARCHITECTURES)
            raise ConfigError(f"platform aws: architecture {self.arch.name}; allowed: {allowed}")
        try:
            who = self.call(self._clients.sts.get_caller_identity)
        except PlatformError as e:
            raise ConfigError(f"platform aws: no usable credentials: {e}; see docs/clouds.md") from e
        return f"{who['Arn']} in {self._clients.region}"

    def check_image(self, reference: str) -> None:
        """See that an AMI exists in this region, for this architecture."""
        try:
            found = self.call(self._clients.ec2.describe_images, ImageIds=[reference])["Images"]
        except PlatformError as e:
            raise ConfigError(f"--image cloud:{reference}: {e}") from e
        if not found:
            raise ConfigError(f"--image cloud:{reference}: not in {self._clients.region}")
        if (arch := found[0].get("Architecture")) != images.ARCHITECTURES[self.arch.name]:
            raise ConfigError(f"--image cloud:{reference}: is for {arch}, the run is for {self.arch.name}")

    def set_up(self, tags: Tags) -> None:
        """Make the security group of the run: SSH from outside, everything among the machines."""
        if self._group:
            self.call(self._clients.ec2.describe_security_groups, GroupIds=[self._group])
            return
        ec2, vpc = self._clients.ec2, self.call(self._vpc)

        def group() -> str:
            return str(
                ec2.create_security_group(
                    GroupName=f"kola-{tags.run}",
                    Description=f"machines of kola's run {tags.run}",
                    VpcId=vpc,
                    TagSpecifications=tagged(tags, "security-group"),
                )["GroupId"]
            )

        def rules() -> None:
            ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": self.options.allow_from}]}
            inside = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": made}]}
            ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=[ssh, inside])

        made = self.call(once(group, "InvalidGroup.Duplicate", self._security_group))
        self.call.fresh(once(rules, "InvalidPermission.Duplicate", lambda: None))
        self._group = made

    def _vpc(self) -> str:
        ec2, subnet = self._clients.ec2, self.options.subnet
        if subnet:
            return str(ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"])
        found = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        if not found:
            raise ConfigError(f"no default VPC in {self._clients.region}: say -P subnet=ID")
        return str(found[0]["VpcId"])

    # -- images and objects ------------------------------------------------------------------------------------------

    def recipe(self, image: Image) -> str:  # noqa: ARG002
        """Return what beside its content decides what an AMI is like."""
        return images.recipe(self.options, self.arch.name)

    def find_image(self, digest: str) -> str | None:
        """Return our own AMI of that content."""
        tags = {"kola-digest": digest, "kola-owner": label(self.context.owner)}
        wanted = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
        wanted.append({"Name": "state", "Values": ["available"]})
        found = self._clients.ec2.describe_images(Owners=["self"], Filters=wanted)["Images"]
        return str(found[0]["ImageId"]) if found else None

    def publish(self, image: Image, name: str, tags: Tags) -> str:
        """Upload an image and register it."""
        self.call(self._bucket.make)
        publisher = images.Publisher(self._clients, self.options, self.call, self._bucket)
        publisher.interval, publisher.progress = self.interval, self.progress
        return publisher.publish(image, name, tags, self.arch.name, self.context.scratch)

    def retag_image(self, reference: str, tags: Tags) -> None:
        """Tag an AMI and its snapshots anew."""
        found = self._clients.ec2.describe_images(ImageIds=[reference])["Images"][0]
        mappings = found.get("BlockDeviceMappings", ())
        snapshots = [one["Ebs"]["SnapshotId"] for one in mappings if "SnapshotId" in one.get("Ebs", ())]
        self._clients.ec2.create_tags(Resources=[reference, *snapshots], Tags=tag_list(tags))

    def put(self, name: str, data: bytes, tags: Tags) -> str:  # noqa: ARG002 - its tags say it
        """Store a config; only who knows the URL, which is signed, reads it."""
        s3, where = self._clients.s3, {**self._bucket.place, "Key": images.object_key(tags, "config.ign.gz")}
        try:
            s3.put_object(**where, Body=data)
        except s3.exceptions.NoSuchBucket:
            self._bucket.make()
            s3.put_object(**where, Body=data)
        del where["ExpectedBucketOwner"]  # the machine would have to say it in a header
        url: str = s3.generate_presigned_url("get_object", Params=where, ExpiresIn=_URL_SECONDS)
        return url

    def discard(self, name: str) -> None:
        """Delete the config of a machine."""
        for found in next(kind for kind in self.kinds() if kind.name == "object").find():
            if found.tags.name == name and found.tags.run == self.context.run_id:
                self._clients.s3.delete_object(**self._bucket.place, Key=found.id)

    # -- machines ----------------------------------------------------------------------------------------------------

    def zones(self, kind: InstanceType) -> Sequence[str]:
        """Return the zones that offer a type, or that of the subnet."""
        ec2 = self._clients.ec2
        if self.options.subnet:
            return [ec2.describe_subnets(SubnetIds=[self.options.subnet])["Subnets"][0]["AvailabilityZone"]]
        offered = clients.pages(
            ec2, "describe_instance_type_offerings", "InstanceTypeOfferings", LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": [kind.name]}],
        )  # fmt: skip
        return [one["Location"] for one in offered]

    def create(self, order: Order) -> str:
        """Run one instance; the token sees that a repeated call makes no other one."""
        made = self._clients.ec2.run_instances(**self._request(order, self._subnet(order.zone)))
        return str(made["Instances"][0]["InstanceId"])

    def _subnet(self, zone: str) -> str:
        """Return the user's subnet, or the default one of a zone."""
        if self.options.subnet:
            return str(self.options.subnet)
        if zone not in self._subnets:
            wanted = [{"Name": "default-for-az", "Values": ["true"]}, {"Name": "availability-zone", "Values": [zone]}]
            found = self._clients.ec2.describe_subnets(Filters=wanted)["Subnets"]
            if not found:
                raise CapacityError(f"{zone} has no default subnet")
            self._subnets[zone] = str(found[0]["SubnetId"])
        return self._subnets[zone]

    def _root(self, image: str) -> str:
        """Return what an AMI calls its root device."""
        if image not in self._roots:
            self._roots[image] = self._clients.ec2.describe_images(ImageIds=[image])["Images"][0]["RootDeviceName"]
        return self._roots[image]

    def terminate(self, machine: str) -> None:
        """Terminate it; its volumes go with it."""
        self._clients.ec2.terminate_instances(InstanceIds=[machine])

    def power_cycle(self, machine: str, name: str) -> str:
        """Cut the power and switch it on again.

        Raises:
            PlatformError: it is a spot instance.
        """
        if self.options.spot:
            raise PlatformError(f"machine {name}: its power cannot be cut: {_NO_POWER}")
        return super().power_cycle(machine, name)

    def stop(self, machine: str) -> None:
        """Stop it without asking its system."""
        self._clients.ec2.stop_instances(InstanceIds=[machine], Force=True)

    def start(self, machine: str) -> None:
        """Start it again."""
        self._clients.ec2.start_instances(InstanceIds=[machine])

    def states(self) -> Mapping[str, State]:
        """Return the states of this process's instances."""
        worker = [{"Name": "tag:kola-worker", "Values": [self.context.worker]}]
        found = self._resources.of_run("describe_instances", "Reservations", self.context.run_id, Filters=worker)
        return {one["InstanceId"]: _state(one) for reservation in found for one in reservation["Instances"]}

    def read_console(self, machine: str) -> str:
        """Return the last 64 KiB; Nitro instances have them at once, others when they begin and end."""
        ec2 = self._clients.ec2
        try:
            output = ec2.get_console_output(InstanceId=machine, Latest=True)
        except ClientError as e:
            if e.response["Error"]["Code"] != "UnsupportedOperation":
                raise
            output = ec2.get_console_output(InstanceId=machine)
        return str(output.get("Output", ""))

    def kinds(self) -> Sequence[Kind]:
        """Return what may be left, in the order in which it can go."""
        return self._resources.kinds()

    def _security_group(self) -> str:
        """Return the group of the run; the controller made it."""
        if not self._group:
            found = self._resources.of_run("describe_security_groups", "SecurityGroups", self.context.run_id)
            groups = [one["GroupId"] for one in found]
            if not groups:
                raise MissingError(f"the security group of run {self.context.run_id} is gone")
            self._group = groups[0]
        return self._group

    def _request(self, order: Order, subnet: str) -> dict[str, Any]:
        options = self.options
        if len(order.spec.disks) > len(_LETTERS):
            raise ConfigError(f"platform aws: at most {len(_LETTERS)} extra disks")
        request: dict[str, Any] = {
            "ImageId": order.image,
            "InstanceType": order.kind.name,
            "MinCount": 1,
            "MaxCount": 1,
            "ClientToken": order.token[-64:],
            "Placement": {"AvailabilityZone": order.zone},
            "UserData": order.user_data,
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2, "HttpEndpoint": "enabled"},
            "InstanceInitiatedShutdownBehavior": "stop",
            "TagSpecifications": tagged(order.tags, "instance", "volume", "network-interface"),
            "BlockDeviceMappings": self._disks(order),
            "NetworkInterfaces": [
                {
                    "DeviceIndex": 0,
                    "Groups": [self._security_group()],
                    "AssociatePublicIpAddress": options.address == "public",
                    "DeleteOnTermination": True,
                    "SubnetId": subnet,
                }
            ],
        }
        if "confidential" in words(options.features):  # of a type that can be, which is not enough
            request["CpuOptions"] = {"AmdSevSnp": "enabled"}
        if options.instance_profile:
            request["IamInstanceProfile"] = {"Name": options.instance_profile}
        if options.spot:
            once = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
            request["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": once}
        return request

    def _disks(self, order: Order) -> list[dict[str, Any]]:
        spec = order.spec
        sizes = {f"/dev/sd{letter}": disk.size_gib for letter, disk in zip(_LETTERS, spec.disks, strict=False)}
        if spec.disk_gib is not None:
            sizes[self._root(order.image)] = spec.disk_gib
        ebs = {"VolumeType": "gp3", "DeleteOnTermination": True}
        return [{"DeviceName": name, "Ebs": {**ebs, "VolumeSize": size}} for name, size in sizes.items()]


def _state(instance: dict[str, Any]) -> State:
    reason = instance.get("StateReason", {})
    code = reason.get("Code", "")
    return State(
        _PHASES[instance["State"]["Name"]],
        public=instance.get("PublicIpAddress", ""),
        private=instance.get("PrivateIpAddress", ""),
        reason=reason.get("Message", ""),
        no_room=clients.no_room(code),
        by_provider=code.startswith("Server."),
    )
