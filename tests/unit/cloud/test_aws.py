"""The aws driver, by the contract of all clouds, against moto with machines of its own."""

from __future__ import annotations

import json
import resource
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from kola.errors import ConfigError
from kola.platform import Scope
from rehearsal.faults import Trouble
from tests.contract import IGNITION
from tests.unit.cloud.conftest import Cloud
from tests.unit.cloud.contract import MACHINE, SPEC, CloudContract

POLICY = Path(__file__).parents[3] / "docs" / "aws-policy.json"
S3_ACTIONS = {
    "CompleteMultipartUpload": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "HeadObject": "GetObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectsV2": "ListBucket",
    "UploadPart": "PutObject",
}
"""S3's calls that are allowed under another name."""


class TestAws(CloudContract):
    NAME: ClassVar[str] = "aws"
    CREATE: ClassVar[str] = "RunInstances"

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
            backend = cloud.rehearsal.front.backend  # type: ignore[attr-defined]
            made = backend.get_instance(instance.id)
            assert made.metadata_options.http_tokens == "required"
            assert made.lifecycle == "spot"
            assert made.instance_type == "t3a.small"
            assert made.iam_instance_profile is None
            assert [group.name for group in made.nics[0].group_set] == ["kola-run1"]

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
