"""The gcp driver, by the contract of all clouds and beyond, against a Google Cloud on this host."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
import yaml
from werkzeug import Response

from kola.cloud.tags import Tags
from kola.errors import ConfigError, PlatformError
from kola.platform import Scope
from kola.retry import Backoff, Caller
from kola.wait import wait_until
from platforms.gcp import upload
from platforms.gcp.driver import ROLE
from rehearsal.faults import Trouble
from rehearsal.gcp.frontend import Gcp as Rehearsed
from rehearsal.gcp.permissions import NEEDED
from tests.cloud.conftest import Cloud
from tests.cloud.contract import MACHINE, RUN, SPEC, CloudContract
from tests.contract import IGNITION

TAGS = Tags("run1", "me", "gw0", MACHINE, 1000, 7200)


class TestGcp(CloudContract):
    NAME: ClassVar[str] = "gcp"
    CREATE: ClassVar[str] = "instances.insert"
    CALLS: ClassVar[int] = 5
    LIST: ClassVar[str] = "instances.aggregatedList"

    def break_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        path = Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
        wrong = json.loads(path.read_text()) | {"client_email": "nobody@rehearsal-1.iam.gserviceaccount.com"}
        path.write_text(json.dumps(wrong))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    # -- preflight ---------------------------------------------------------------------------------------------------

    def test_the_role_has_what_is_needed_and_no_more(self, cloud: Cloud) -> None:
        """Everything that the driver can do is done; each call needs its permissions."""
        cloud.driver(worker="main", image_days="0").prepare(replace(cloud.local, sha256="7" * 64))
        named = cloud.driver(worker="main", image_days="0", bucket="kola-rehearsal-1")
        named.prepare(replace(cloud.local, sha256="8" * 64))
        prepared = cloud.driver(worker="main").prepare(cloud.local)
        cloud.driver(worker="main").prepare(cloud.local)
        driver = cloud.driver()
        type(driver).user_data_limit = 400
        with driver.launch(SPEC, IGNITION + os.urandom(1000).hex().encode(), MACHINE, prepared) as instance:
            config = json.loads(next(iter(cloud.rehearsal.host.machines.values())).user_data)
            assert requests.get(config["ignition"]["config"]["replace"]["source"], timeout=10).ok
            instance.reset()
            driver.stop(instance.id)
            instance.reset()
            instance.keep()
        family = replace(cloud.local, format="cloud", reference="cloud:family/published")
        cloud.driver(worker="main").prepare(family)
        front(cloud).compute.disks["us-central1-a/left"] = {"name": "left", "labels": TAGS.as_labels(), "users": []}
        cloud.driver(owner="me").sweep(replace(RUN, owner="me"))
        self.sweep(cloud)
        made = set(cloud.rehearsal.faults.log)
        assert NEEDED.keys() - made == set()
        needed = {permission for call in made for permission in NEEDED.get(call, ())}
        assert set(yaml.safe_load(ROLE.read_text())["includedPermissions"]) == needed

    def test_a_permission_that_is_missing_is_named_before_anything_is_made(self, cloud: Cloud) -> None:
        front(cloud).denied |= {"compute.instances.create", "storage.objects.delete"}
        with pytest.raises(
            ConfigError, match=r"lacks .*rehearsal-1: compute.instances.create, storage.objects.delete; "
        ):
            cloud.driver(worker="main").prepare(cloud.published)
        assert cloud.left() == []

    def test_with_tags_of_the_user_no_rules_are_made_nor_needed(self, cloud: Cloud) -> None:
        front(cloud).denied |= {"compute.firewalls.create", "compute.firewalls.delete", "compute.networks.updatePolicy"}
        prepared = cloud.driver(worker="main", network_tags="ssh").prepare(cloud.published)
        with cloud.driver(network_tags="ssh,kola").launch(SPEC, IGNITION, MACHINE, prepared):
            (instance,) = front(cloud).compute.instances.values()
            assert instance["tags"] == {"items": ["ssh", "kola"]}
            assert [one for one in cloud.left() if one.startswith("firewall")] == []

    @pytest.mark.parametrize(
        ("option", "value", "problem"),
        [
            ("region", "mars-north1", "-P region=mars-north1: no such region"),
            ("project", "other", "platform gcp: the credentials of kola@rehearsal-1.* do not reach project other: "),
            ("bucket", "nowhere", "-P bucket=nowhere: no such bucket, in project rehearsal-1 or another"),
        ],
    )
    def test_a_place_that_is_not_there(self, cloud: Cloud, option: str, value: str, problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            cloud.driver(worker="main", **{option: value}).prepare(cloud.local)

    @pytest.mark.parametrize("step", ["image", "config"])
    def test_a_bucket_that_somebody_else_made_is_not_used(self, cloud: Cloud, step: str) -> None:
        """Its name can be guessed: who has it could change images on their way, and read configs."""
        front(cloud).storage.buckets["kola-rehearsal-1"] = {"name": "kola-rehearsal-1", "project": "theirs"}
        steps: dict[str, Callable[[], object]] = {
            "image": lambda: cloud.driver(worker="main").prepare(cloud.local),
            "config": lambda: cloud.driver().put(MACHINE, gzip.compress(IGNITION), TAGS),
        }
        problem = r"bucket kola-rehearsal-1 is not in project rehearsal-1: .* -P bucket=NAME"
        with pytest.raises(ConfigError, match=problem):
            steps[step]()
        assert front(cloud).storage.objects == {}
        assert front(cloud).storage.sessions == {}

    def test_a_bucket_of_an_attempt_whose_answer_was_lost_is_ours(self, cloud: Cloud) -> None:
        cloud.rehearsal.faults.inject(Trouble.LOST, "buckets.insert")
        cloud.driver(worker="main").prepare(cloud.local)
        assert cloud.rehearsal.faults.log.count("buckets.insert") == 1  # found by the next look

    def test_a_bucket_that_another_run_has_just_made_is_ours(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage = front(cloud).storage
        storage.buckets["kola-rehearsal-1"] = {"name": "kola-rehearsal-1", "project": "rehearsal-1"}
        listed, looks = storage.buckets_list, iter([Response('{"kind": "storage#buckets"}')])
        monkeypatch.setattr(storage, "buckets_list", lambda asked: next(looks, None) or listed(asked))
        cloud.driver(worker="main").prepare(cloud.local)
        assert cloud.rehearsal.faults.log.count("buckets.insert") == 1

    def test_a_bucket_that_the_user_names_may_be_anywhere(self, cloud: Cloud) -> None:
        front(cloud).storage.buckets["of-another"] = {"name": "of-another", "project": "theirs"}
        cloud.driver(worker="main", bucket="of-another").prepare(cloud.local)
        assert "kola-rehearsal-1" not in front(cloud).storage.buckets

    def test_no_credentials(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
        with pytest.raises(ConfigError, match=r"platform gcp: no usable credentials: .*/nowhere.*; see docs/gcp.md"):
            cloud.driver()

    def test_the_preflight_says_who_and_where(self, cloud: Cloud) -> None:
        notes = cloud.driver(worker="main").prepare(cloud.published).notes
        assert notes[0].startswith(
            "kola@rehearsal-1.iam.gserviceaccount.com, project rehearsal-1 in us-central1, 0 of 2400"
        )

    def test_all_machines_get_the_image_that_was_the_newest(self, cloud: Cloud) -> None:
        family = replace(cloud.local, format="cloud", reference="cloud:family/published")
        prepared = cloud.driver(worker="main").prepare(family)
        cloud.rehearsal.front.register(str(cloud.local.path))  # a newer one
        assert prepared.image_ref == cloud.rehearsal.images[0]

    def test_a_token_that_expires_during_the_run_is_the_providers_failure(self, cloud: Cloud) -> None:
        """Only at the call that gets it: everywhere else the SDK gets another one, and the call is made again."""
        self.expire(cloud, {"oauth2.token", self.CREATE})

    @pytest.mark.slow
    def test_a_token_that_expires_at_any_call(self, cloud: Cloud) -> None:
        self.expire(cloud)

    def expire(self, cloud: Cloud, names: set[str] | None = None) -> None:
        """Let the token expire at each call of a launch, or at those of these names."""
        faults = cloud.rehearsal.faults
        self.round_trip(cloud)
        calls = list(faults.log)
        for index, call in enumerate(calls):
            if names is not None and call not in names:
                continue
            faults.clear()
            faults.inject(Trouble.EXPIRED, after=index)
            if call != "oauth2.token":
                self.round_trip(cloud)
                continue
            with pytest.raises((ConfigError, PlatformError), match="credentials: "):
                self.round_trip(cloud)
        self.sweep(cloud)
        assert cloud.left() == []

    # -- machines ----------------------------------------------------------------------------------------------------

    def test_an_operation_that_fails_is_the_calls_failure(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        cloud.rehearsal.faults.inject(Trouble.CAPACITY, self.CREATE, times=1000)
        with pytest.raises(
            PlatformError, match=r"us-central1-\w: instances.insert: ZONE_RESOURCE_POOL_EXHAUSTED: The zone does"
        ):
            self.round_trip(cloud, prepared)

    @pytest.mark.parametrize("code", ["RESOURCE_OPERATION_RATE_EXCEEDED", "INTERNAL_ERROR", "RESOURCE_NOT_FOUND"])
    def test_an_operation_that_fails_for_a_while_is_begun_anew(self, cloud: Cloud, code: str) -> None:
        """Image, both firewall rules, machine: the one that failed stays failed, whoever asks for it again."""
        log, failing = cloud.rehearsal.faults.log, front(cloud).compute.operations.failing
        failing.extend([(503, code, "later")] * 2)
        controller = cloud.driver(worker="main")
        image = controller.publish(cloud.local, "kola-run1-x", replace(TAGS, name="", owner="release-team"))
        controller.check_image(image)
        assert log.count("images.insert") == 3
        ready = [one["status"] for one in front(cloud).compute.images.values() if not one.get("published")]
        assert ready == ["FAILED", "FAILED", "READY"]
        failing.extend([(503, code, "later")] * 2)
        prepared = controller.prepare(cloud.published)
        assert log.count("firewalls.insert") == 4
        failing.extend([(503, code, "later")] * 2)
        self.round_trip(cloud, prepared)
        assert log.count("instances.insert") == 3
        controller.sweep(Scope("release-team", "run1"))
        self.sweep(cloud)
        assert cloud.left() == []

    def test_an_operation_that_fails_for_good_is_not_begun_anew(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        front(cloud).compute.operations.failing.append((400, "INVALID_USAGE", "no"))
        with pytest.raises(PlatformError, match=r"instances\.insert: INVALID_USAGE: no"):
            self.round_trip(cloud, prepared)
        assert cloud.rehearsal.faults.log.count("instances.insert") == 1

    def test_a_machine_that_is_off_is_started(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        with cloud.driver().launch(SPEC, IGNITION, MACHINE, prepared) as instance:
            (machine,) = cloud.rehearsal.host.machines.values()
            machine.state = "off"
            wait_until(lambda: instance.lost() is not None, 5, interval=0.02)
            instance.reset()
            assert machine.state == "on"
            assert instance.lost() is None

    def test_lists_of_more_than_a_page(self, cloud: Cloud) -> None:
        driver = cloud.driver()
        for number in range(250):
            name = f"disk-{number}"
            front(cloud).compute.disks[f"us-central1-b/{name}"] = {
                "name": name, "labels": replace(TAGS, owner="release-team-1").as_labels(), "users": [],
            }  # fmt: skip
        found = driver.find(replace(RUN, owner="release-team-1"))
        assert len(found["disk"]) == 250

    def test_a_large_config_is_fetched_by_who_has_its_url(self, cloud: Cloud) -> None:
        url = cloud.driver().put(MACHINE, gzip.compress(IGNITION), TAGS)
        assert gzip.decompress(requests.get(url, timeout=10).content) == IGNITION
        assert requests.get(url.replace("kola/run1", "kola/run2"), timeout=10).status_code == 403
        assert requests.get(url.partition("?")[0], timeout=10).status_code >= 400

    def test_no_call_is_made_that_nobody_waits_for(self, cloud: Cloud) -> None:
        cloud.driver().put(MACHINE, gzip.compress(IGNITION), TAGS)
        cloud.rehearsal.faults.clear()
        cloud.driver().find(RUN)
        for thread in threading.enumerate():
            if "_fetch_background" in thread.name:  # the SDK's
                thread.join(10)
        assert "objects.list" in cloud.rehearsal.faults.log
        assert "buckets.get" not in cloud.rehearsal.faults.log

    # -- upload ------------------------------------------------------------------------------------------------------

    def test_an_upload_goes_on_where_it_broke_off(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(upload, "PIECE_BYTES", 256 << 10)
        content = random.Random(1).randbytes(1_500_000)  # noqa: S311
        disk = self.raw_disk(cloud.folder, 1, content)
        for trouble in (Trouble.CUT, Trouble.LOST, Trouble.THROTTLE, Trouble.ERROR):
            cloud.rehearsal.faults.inject(trouble, "objects.upload", after=random.Random(trouble).randrange(4))  # noqa: S311
        told: list[tuple[int, int]] = []
        driver = cloud.driver(worker="main")
        driver.progress = lambda _what, done, total: told.append((done, total))
        taken: list[bytes] = []
        delete = front(cloud).storage.objects_delete

        def seen(asked: Any, bucket: str, name: str) -> Any:
            taken.append(front(cloud).storage.object(bucket, name).path.read_bytes())
            return delete(asked, bucket, name)

        monkeypatch.setattr(front(cloud).storage, "objects_delete", seen)
        driver.prepare(replace(cloud.local, path=disk, format="raw"))
        (packed,) = taken
        unpacked = subprocess.run(["tar", "-xzO", "disk.raw"], input=packed, capture_output=True, check=True).stdout
        assert unpacked[: len(content)] == content
        assert len(unpacked) == 1 << 30
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert told[-1][0] == len(packed)
        assert not [one for one in cloud.left() if one.startswith("object")]

    def test_a_session_of_an_upload_is_in_no_message(self, cloud: Cloud) -> None:
        for trouble in (Trouble.CUT, Trouble.ERROR):
            cloud.rehearsal.faults.clear()
            cloud.rehearsal.faults.inject(trouble, "objects.upload", times=1000)
            driver = cloud.driver(worker="main")
            driver.call = Caller(driver.classify, Backoff(first=0.001, most=0.01, seconds=0.3))
            with pytest.raises(PlatformError, match="upload: ") as raised:
                driver.prepare(cloud.local)
            assert "upload_id" not in str(raised.value)

    @pytest.mark.slow
    def test_a_gibibyte_with_holes(self, cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
        """Bytes sent are those of the data; memory is that of a few pieces; what breaks costs one piece."""
        content = random.Random(2).randbytes(100 << 20)  # noqa: S311
        disk = self.raw_disk(cloud.folder, 1, content)
        cloud.rehearsal.faults.inject(Trouble.LOST, "objects.upload", after=2)
        cloud.rehearsal.faults.inject(Trouble.CUT, "objects.upload", after=4)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cloud.driver(worker="main").prepare(replace(cloud.local, path=disk, format="raw"))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        (session,) = front(cloud).storage.sessions.values()
        sent, data = session.received >> 20, len(content) >> 20
        with capsys.disabled():
            print(f"\n1 GiB, {data} MiB of it data: {sent} MiB sent, {grown} MiB more memory")
        assert session.received < len(content) * 1.02 + upload.PIECE_BYTES
        assert grown < 150  # a server of the same process reads each piece, too

    @staticmethod
    def raw_disk(folder: Path, gib: int, content: bytes) -> Path:
        disk = folder / "large.raw"
        with disk.open("wb") as file:
            file.write(content)
            file.truncate(gib << 30)
        return disk

    # -- strictness --------------------------------------------------------------------------------------------------

    def test_the_rehearsal_refuses_what_google_would(self, cloud: Cloud) -> None:
        clients = cloud.driver()._clients  # type: ignore[attr-defined]
        url = cloud.rehearsal.front.url
        images = f"{url}/compute/v1/projects/rehearsal-1/global/images"
        anonymous = requests.get(images, timeout=10)
        assert anonymous.status_code == 401
        assert requests.get(images, headers={"Authorization": "Bearer ya29.wrong"}, timeout=10).status_code == 401
        assert clients.session.get(images, timeout=10).ok
        assert (
            clients.session.get(f"{url}/compute/v1/projects/rehearsal-1/global/snapshots", timeout=10).status_code
            == 404
        )
        missing = clients.session.post(images, json={"name": "x"}, timeout=10)
        assert missing.json()["error"]["errors"][0]["reason"] == "required"
        bad = clients.session.post(f"{images}?requestId=7", json={"name": "x", "rawDisk": {"source": "y"}}, timeout=10)
        assert "requestId" in bad.json()["error"]["message"]
        labels = {"name": "x", "rawDisk": {"source": "y"}, "labels": {"owner": "Me.Too"}}
        assert clients.session.post(images, json=labels, timeout=10).status_code == 400


def front(cloud: Cloud) -> Rehearsed:
    assert isinstance(cloud.rehearsal.front, Rehearsed)
    return cloud.rehearsal.front
