"""The aws driver, by the contract of all clouds, against moto with machines of its own."""

from __future__ import annotations

import gzip
import json
import resource
import secrets
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from moto.ec2.models.instances import StateReason
from moto.s3.models import s3_backends

from kola.errors import ConfigError, PlatformError
from kola.platform import Instance, Scope
from kola.retry import MissingError
from kola.spec import Disk, MachineSpec
from kola.wait import wait_until
from platforms.aws.bucket import Bucket
from platforms.aws.clients import Clients
from platforms.aws.options import Options
from rehearsal.faults import Trouble
from tests.cloud.conftest import Cloud
from tests.cloud.contract import MACHINE, SPEC, CloudContract
from tests.contract import IGNITION

POLICY = Path(__file__).parents[2] / "docs" / "aws-policy.json"
S3_ACTIONS = {
    "CompleteMultipartUpload": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "HeadObject": "GetObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectsV2": "ListBucket",
    "UploadPart": "PutObject",
}
"""S3's calls that are allowed under another name."""


LARGE = b'{"ignition":{"version":"3.0.0"},"x":"' + secrets.token_hex(2000).encode() + b'"}'


def block_devices(cloud: Cloud, instance: Instance) -> dict[str, Any]:
    """Return the volumes that were asked for, by device."""
    return dict(backend_of(cloud).get_instance(instance.id).block_device_mapping)


def backend_of(cloud: Cloud) -> Any:
    """Return EC2's side of the rehearsal."""
    return cloud.rehearsal.front.backend  # type: ignore[attr-defined]


class TestAws(CloudContract):
    NAME: ClassVar[str] = "aws"
    CREATE: ClassVar[str] = "RunInstances"
    CALLS: ClassVar[int] = 6  # one of them asks who offers the type, a few once for every zone

    def break_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")

    def test_the_policy_of_the_docs_allows_what_is_called(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.local)
        driver = cloud.driver()
        type(driver).user_data_limit = 100
        with driver.launch(SPEC, IGNITION + b" " * 300 + bytes(range(32, 127)) * 3, MACHINE, prepared) as instance:
            instance.console()
            instance.reset()
            instance.keep()
        cloud.driver(worker="reaper").sweep(Scope("Release.Team", "run1"))
        cloud.driver(worker="reaper").sweep(Scope("Release.Team", "run1", older_than=-1))
        backend_of(cloud).import_seconds = 3600.0
        self.interrupted_import(cloud)
        cloud.driver(worker="reaper").sweep(Scope("Release.Team", "run1"))
        assert cloud.left() == []
        statements = json.loads(POLICY.read_text())["Statement"]
        allowed = {action.partition(":")[2] for statement in statements for action in statement["Action"]}
        called = {S3_ACTIONS.get(call, call) for call in cloud.rehearsal.faults.log}
        assert called <= allowed
        # What the rehearsal has no occasion for: disks and interfaces go with their machines, no profile.
        spare = {"DeleteVolume", "DeleteNetworkInterface", "PassRole"}
        # An upload that is given up, and the machine itself that fetches its config.
        assert allowed - called <= {*spare, "AbortMultipartUpload", "GetObject"}

    def test_the_instance_asks_for_what_it_should(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        with cloud.driver(spot="yes").launch(SPEC, IGNITION, MACHINE, prepared) as instance:
            made = backend_of(cloud).get_instance(instance.id)
            assert made.metadata_options.http_tokens == "required"
            assert made.lifecycle == "spot"
            assert made.cpu_options == {}
            assert made.instance_type == "t3a.small"
            assert made.iam_instance_profile is None
            assert [group.name for group in made.nics[0].group_set] == ["kola-run1"]

    def test_the_sweep_waits_for_machines_that_are_shutting_down(self, cloud: Cloud) -> None:
        """Their volumes and interfaces are attached until then, and cannot be deleted."""
        backend_of(cloud).ending_seconds = 3600.0
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        with cloud.driver().launch(MachineSpec(disks=(Disk(1),)), IGNITION, MACHINE, prepared) as instance:
            pass
        assert backend_of(cloud).get_instance(instance.id).state == "shutting-down"
        log = cloud.rehearsal.faults.log
        log.clear()
        with ThreadPoolExecutor(1) as pool:
            sweeping = pool.submit(self.sweep, cloud)
            try:
                wait_until(lambda: sweeping.done() or log.count("DescribeInstances") > 2, 30, interval=0.05)
                assert not sweeping.done()
                assert "DescribeVolumes" not in log
            finally:
                backend_of(cloud).hurry()
        assert f"instance {instance.id}" in sweeping.result()
        assert cloud.left() == []

    # -- imports -----------------------------------------------------------------------------------------------------

    def interrupted_import(self, cloud: Cloud) -> None:
        """Be killed while an image is being imported."""
        driver = cloud.driver(worker="main", image_days="0")

        def progress(what: str, _done: int, _total: int) -> None:
            if what == "importing the snapshot":
                raise KeyboardInterrupt

        driver.progress = progress
        with pytest.raises(KeyboardInterrupt):
            driver.prepare(cloud.local)

    def test_an_import_that_goes_on_is_cancelled(self, cloud: Cloud) -> None:
        backend_of(cloud).import_seconds = 3600.0
        self.interrupted_import(cloud)
        (task,) = backend_of(cloud).running_imports()
        removed = self.sweep(cloud)
        assert f"import task {task}" in removed
        assert not any(one.startswith("snapshot") for one in removed)
        assert cloud.left() == []
        assert self.sweep(cloud) == []

    def test_a_snapshot_that_an_import_made_is_tagged_to_be_deleted(self, cloud: Cloud) -> None:
        """Nobody came to tag it, and what has no tag may not be deleted."""
        self.interrupted_import(cloud)
        wait_until(lambda: any(one.startswith("snapshot") for one in cloud.left()), 10, interval=0.05)
        assert any(one.startswith("snapshot") for one in self.sweep(cloud))
        assert cloud.left() == []

    def test_an_import_that_was_over_before_it_could_be_cancelled(self, cloud: Cloud) -> None:
        self.interrupted_import(cloud)
        kinds = {kind.name: kind for kind in cloud.driver(worker="reaper").kinds()}
        wait_until(lambda: not list(kinds["import task"].find()), 10, interval=0.05)
        with pytest.raises(MissingError, match=r"import-snap-\w+ is over"):
            kinds["import task"].delete("import-snap-00000000000000000")
        self.sweep(cloud)
        assert cloud.left() == []

    # -- the bucket --------------------------------------------------------------------------------------------------

    def test_nothing_is_put_into_the_bucket_of_somebody_else(self, cloud: Cloud) -> None:
        """Who knows account and region knows the name, and may have been there before."""
        driver = cloud.driver()
        type(driver).user_data_limit = 100
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        theirs = s3_backends["999999999999"]["aws"].create_bucket("kola-123456789012-us-east-1", "us-east-1")
        with (
            pytest.raises(PlatformError, match="AccessDenied"),
            driver.launch(SPEC, LARGE, MACHINE, prepared),
        ):
            pass
        assert list(theirs.keys) == []
        with pytest.raises(ConfigError, match="AccessDenied"):
            cloud.driver(worker="main").prepare(cloud.published)

    def test_who_has_taken_the_name_of_the_bucket_is_said(self, cloud: Cloud) -> None:
        s3_backends["999999999999"]["aws"].create_bucket("kola-123456789012-us-east-1", "us-east-1")
        clients = Clients(Options(region="us-east-1", endpoint=cloud.rehearsal.front.url))
        with pytest.raises(ConfigError, match=r"bucket kola-\d+-us-east-1 is another account's: -P bucket=NAME"):
            Bucket(clients, "").make()

    def test_a_large_config_is_fetched_without_credentials(self, cloud: Cloud) -> None:
        driver = cloud.driver()
        type(driver).user_data_limit = 600
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        with driver.launch(SPEC, LARGE, MACHINE, prepared):
            (machine,) = cloud.rehearsal.host.machines.values()
            replaced = json.loads(machine.user_data)["ignition"]["config"]["replace"]
            with urllib.request.urlopen(replaced["source"]) as answer:  # noqa: S310 - of the rehearsal
                assert gzip.decompress(answer.read()) == LARGE

    # -- machines ----------------------------------------------------------------------------------------------------

    def test_the_root_is_what_the_image_calls_so(self, cloud: Cloud) -> None:
        other = backend_of(cloud).add_ami(cloud.rehearsal.images[0], "other", "x86_64", root="/dev/sda1")
        image = replace(cloud.published, reference=f"cloud:{other}")
        for each, root in ((image, "/dev/sda1"), (cloud.published, "/dev/xvda")):
            prepared = cloud.driver(worker="main").prepare(each)
            spec = MachineSpec(disk_gib=20, disks=(Disk(1),))
            with cloud.driver().launch(spec, IGNITION, MACHINE, prepared) as instance:
                sizes = {name: disk.size for name, disk in block_devices(cloud, instance).items()}
                assert sizes == {root: 20, "/dev/sdf": 1}

    def test_a_confidential_machine_is_one(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main", features="confidential").prepare(cloud.published)
        with cloud.driver(features="confidential").launch(SPEC, IGNITION, MACHINE, prepared) as instance:
            made = backend_of(cloud).get_instance(instance.id)
            assert made.instance_type == "m6a.large"
            assert made.cpu_options == {"AmdSevSnp": "enabled"}

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("Server.SpotInstanceTermination", "provider"),
            ("Server.InternalError", "provider"),
            ("Client.InstanceInitiatedShutdown", "exit"),
        ],
    )
    def test_whose_fault_the_end_of_a_machine_is(self, cloud: Cloud, code: str, kind: str) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        with cloud.driver().launch(SPEC, IGNITION, MACHINE, prepared) as instance:
            backend = backend_of(cloud).get_instance(instance.id)
            backend.state_reason, backend._state.name = StateReason(f"{code}: it ended", code), "stopping"
            cloud.kill(instance)
            loss = wait_until(instance.lost, 30, what="the loss", interval=0.02)
        assert loss is not None
        assert (loss.kind, loss.summary) == (kind, f"the instance is stopped: {code}: it ended")

    def test_a_spot_instance_has_no_power_switch(self, cloud: Cloud) -> None:
        assert cloud.driver(worker="main").prepare(cloud.published).lacks == {}
        prepared = cloud.driver(worker="main", spot="yes").prepare(cloud.published)
        assert list(prepared.lacks) == ["hard-reset"]
        driver = cloud.driver(spot="yes")
        with driver.launch(SPEC, IGNITION, MACHINE, prepared) as instance:
            with pytest.raises(PlatformError, match=r"power cannot be cut: EC2 stops no spot instance .*-P spot"):
                instance.reset()
            with pytest.raises(PlatformError, match="UnsupportedOperation: You can't stop the Spot Instance"):
                driver.call(driver.stop, instance.id)

    def test_no_region(self, cloud: Cloud) -> None:
        with pytest.raises(ConfigError, match="no region"):
            cloud.driver(region="")

    def test_a_large_image_with_holes(self, cloud: Cloud, tmp_path: Path) -> None:
        """1 GiB with 20 MiB in it: little more is sent, in parts; a part that fails is sent again; memory for one."""
        disk = tmp_path / "large.raw"
        with disk.open("wb") as file:
            file.truncate(1 << 30)
            for number in range(20):
                file.seek(number * (50 << 20))
                file.write(
                    subprocess.run(["head", "-c", str(1 << 20), "/dev/urandom"], capture_output=True, check=True).stdout
                )
        driver = cloud.driver(worker="main")
        seen: list[tuple[str, int, int]] = []
        driver.progress = lambda what, done, total: seen.append((what, done, total))
        cloud.rehearsal.faults.inject(Trouble.CUT, "UploadPart", after=1, times=2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        driver.prepare(replace(cloud.local, path=disk, format="raw", sha256="7" * 64))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        sent = [(done, total) for what, done, total in seen if what.startswith("uploading")]
        assert sent[-1][0] == sent[-1][1]
        assert 20 << 20 < sent[-1][1] < 25 << 20
        parts = [call for call in cloud.rehearsal.faults.log if call == "UploadPart"]
        assert len(parts) == len(sent) + 2
        print(f"sent {sent[-1][1]} bytes in {len(parts)} calls, memory grown by {grown} KiB")
        cloud.driver(worker="reaper").sweep(Scope("Release.Team", "run1", older_than=-1))
        assert [one for one in cloud.left() if "kola-run1" not in one and "group" not in one] == []
