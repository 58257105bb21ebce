"""The azure driver, by the contract of all clouds, against an Azure of its own; what is particular to Azure."""

from __future__ import annotations

import json
import resource
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from azure.core.exceptions import HttpResponseError

from kola.cloud.tags import Tags, label
from kola.errors import ConfigError, PlatformError
from kola.platform import Scope
from kola.retry import Fault, Verdict
from kola.spec import Disk, MachineSpec
from kola.wait import wait_until
from platforms.azure import storage, vhd
from platforms.azure.clients import classify
from rehearsal.azure.paths import SUBSCRIPTION
from rehearsal.faults import Trouble
from tests.cloud.conftest import Cloud
from tests.cloud.contract import MACHINE, RUN, SPEC, CloudContract
from tests.contract import IGNITION

ROLE = Path(__file__).parents[2] / "docs" / "azure-role.json"
ACTIONS = Path(__file__).with_name("azure-actions.txt")
GROUPS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups"


def tags() -> Tags:
    """Return tags of the run."""
    return Tags("run1", label("Release.Team"), "main", "", 0, 60)


def verdict_on(status: int, code: str, message: str) -> Verdict:
    """Return what the driver makes of an answer of ARM."""

    class Response:
        status_code, reason = status, "no"
        headers: ClassVar[dict[str, str]] = {"Retry-After": "7"}
        content_type = "application/json"

        def text(self, _encoding: str = "") -> str:
            return json.dumps({"error": {"code": code, "message": f"{message}\nmore"}})

    verdict = classify(HttpResponseError(response=Response()))  # type: ignore[arg-type]
    assert verdict is not None
    return verdict


class TestAzure(CloudContract):
    NAME: ClassVar[str] = "azure"
    CREATE: ClassVar[str] = "VirtualMachines.CreateOrUpdate"
    CALLS: ClassVar[int] = 8  # one more than with a console in which there is something

    def break_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IDENTITY_HEADER", "wrong")

    def made(self, cloud: Cloud, kind: str, name: str) -> dict[str, Any]:
        """Return the request that made something."""
        front: Any = cloud.rehearsal.front
        (found,) = (one for one in front.arm.resources.values() if one.kind.name == kind and one.name.startswith(name))
        body: dict[str, Any] = found.body
        return body

    def test_the_role_of_the_docs_allows_what_is_called_and_no_more(self, cloud: Cloud) -> None:
        """Everything that the driver can do is done, and the rehearsal refuses what the role has not."""
        front: Any = cloud.rehearsal.front
        role = json.loads(ROLE.read_text())["Actions"]
        front.allowed = {action.lower() for action in role}
        prepared = cloud.driver(worker="main").prepare(cloud.local)
        cloud.driver(worker="main").prepare(cloud.local)
        managed = f"{GROUPS}/published/providers/Microsoft.Compute/images/none"
        with pytest.raises(ConfigError, match="ResourceNotFound"):
            cloud.driver(worker="main").check_image(managed)
        driver = cloud.driver()
        type(driver).user_data_limit = 100
        with driver.launch(SPEC, IGNITION + bytes(range(32, 127)) * 3, MACHINE, prepared) as instance:
            instance.console()
            instance.reset()
            instance.keep()
        with cloud.driver().launch(SPEC, IGNITION, "kola-run1-gw0-2", prepared):
            pass
        cloud.driver(worker="reaper").sweep(RUN)
        cloud.driver(worker="reaper").sweep(Scope("Release.Team", "run1", older_than=-1))
        assert cloud.left() == []
        assert front.used == front.allowed

    def test_an_action_that_the_role_has_not_is_refused(self, cloud: Cloud) -> None:
        """Also that of what is not called by itself: the look at a long operation."""
        front: Any = cloud.rehearsal.front
        for action in ("Microsoft.Compute/locations/capsOperations/read", "Microsoft.Storage/operations/read"):
            front.allowed = {one.lower() for one in json.loads(ROLE.read_text())["Actions"]} - {action.lower()}
            with pytest.raises(PlatformError, match=f"AuthorizationFailed: .*{action}"):
                cloud.driver(worker="main").prepare(cloud.local)
            self.sweep(cloud)

    def test_azure_knows_every_action_of_the_role(self) -> None:
        """It takes no role with another one."""
        known = [line for line in ACTIONS.read_text().splitlines() if not line.startswith("#")]
        assert set(json.loads(ROLE.read_text())["Actions"]) <= set(known)

    def test_the_machine_is_what_was_asked_for(self, cloud: Cloud) -> None:
        options = {"spot": "yes", "vtpm": "yes", "zones": "2", "disk_type": "Premium_LRS"}
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        spec = MachineSpec(disk_gib=20, disks=(Disk(3),))
        with cloud.driver(**options).launch(spec, IGNITION, MACHINE, prepared):
            body = self.made(cloud, "virtualMachines", MACHINE)
            nic = self.made(cloud, "networkInterfaces", MACHINE)["properties"]
        properties = body["properties"]
        assert (body["zones"], "identity" in body, "userData" in properties) == (["2"], False, False)
        assert (properties["priority"], properties["evictionPolicy"]) == ("Spot", "Delete")
        assert properties["securityProfile"]["uefiSettings"] == {"secureBootEnabled": False, "vTpmEnabled": True}
        root, (extra,) = properties["storageProfile"]["osDisk"], properties["storageProfile"]["dataDisks"]
        assert (root["diskSizeGB"], extra["diskSizeGB"], extra["lun"]) == (20, 3, 0)
        assert {disk["managedDisk"]["storageAccountType"] for disk in (root, extra)} == {"Premium_LRS"}
        assert {disk["deleteOption"] for disk in (root, extra)} == {"Delete"}
        assert nic["networkSecurityGroup"]["id"].endswith("/networkSecurityGroups/kola-run1")

    def test_a_plain_machine_is_no_trusted_launch_and_may_have_an_identity(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        identity = f"{GROUPS}/x/providers/Microsoft.ManagedIdentity/userAssignedIdentities/y"
        with cloud.driver(identity=identity).launch(SPEC, IGNITION, MACHINE, prepared):
            body = self.made(cloud, "virtualMachines", MACHINE)
        assert list(body["identity"]["userAssignedIdentities"]) == [identity]
        assert "securityProfile" not in body["properties"]
        assert "priority" not in body["properties"]

    def test_what_belongs_to_a_machine_goes_with_it_without_a_sweep(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        before = cloud.left()
        with cloud.driver().launch(MachineSpec(disks=(Disk(1),)), IGNITION, MACHINE, prepared):
            assert len(cloud.left()) == len(before) + 6  # machine twice, interface, address, two disks
        wait_until(lambda: cloud.left() == before, 5, interval=0.05)

    def test_a_private_address_needs_no_public_one(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        with cloud.driver(address="private").launch(SPEC, IGNITION, MACHINE, prepared) as instance:
            assert instance.address == "10.64.0.4"
            assert not any(one.startswith("publicIPAddresses ") for one in cloud.left())

    @pytest.mark.parametrize("image", ["published", "local"])
    def test_a_given_group_stays_and_all_that_was_made_in_it_goes(self, cloud: Cloud, image: str) -> None:
        front: Any = cloud.rehearsal.front
        front.arm.make(
            front.arm.resources[f"{GROUPS}/published".lower()].kind, f"{GROUPS}/Team", {"location": "eastus"}
        )
        front.arm.resources[f"{GROUPS}/team".lower()].body["tags"] = {"costs": "7"}
        theirs = cloud.left()
        given = {"resource_group": "team", "location": "westeurope"}
        prepared = cloud.driver(worker="main", image_days="0", **given).prepare(getattr(cloud, image))
        with cloud.driver(**given).launch(MachineSpec(disks=(Disk(1),)), IGNITION, MACHINE, prepared) as instance:
            instance.keep()
        assert all("/team" in one.lower() or one.startswith("machine") for one in cloud.left())
        cloud.driver(worker="reaper", **given).sweep(RUN)
        assert cloud.left() == theirs

    def test_a_machine_that_was_accepted_and_found_no_room_is_made_elsewhere(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        front: Any = cloud.rehearsal.front
        front.effects.unallocatable = 2
        with cloud.driver().launch(SPEC, IGNITION, MACHINE, prepared):
            assert cloud.rehearsal.faults.log.count("VirtualMachines.Delete") == 2
            zones = self.made(cloud, "virtualMachines", MACHINE)["zones"]
        front.effects.unallocatable = 1
        options = {"zones": zones[0], "instance_types": "Standard_B2s"}
        with (
            pytest.raises(PlatformError, match=r"no room anywhere: .*AllocationFailed: Allocation failed"),
            cloud.driver(**options).launch(SPEC, IGNITION, MACHINE, prepared),
        ):
            pass
        self.sweep(cloud)
        assert cloud.left() == []

    def test_a_machine_whose_answer_was_lost_is_not_made_again(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        faults = cloud.rehearsal.faults
        faults.clear()
        faults.inject(Trouble.LOST, self.CREATE)
        with cloud.driver().launch(SPEC, IGNITION, MACHINE, prepared):
            asked = [call for call in faults.log if call.startswith("VirtualMachines.")]
            assert asked[:3] == [self.CREATE, self.CREATE, "VirtualMachines.Get"]
            assert len(cloud.rehearsal.host.machines) == 1
            assert sum("/networkInterfaces/" in one for one in cloud.left()) == 1

    def test_a_machine_of_that_name_elsewhere_has_to_be_gone_first(self, cloud: Cloud) -> None:
        """It found no room there, and its end takes a while."""
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        front: Any = cloud.rehearsal.front
        front.effects.unallocatable = 1
        front.arm.linger = 0.3
        cloud.rehearsal.faults.inject(Trouble.LOST, "VirtualMachines.Delete")
        cloud.rehearsal.faults.inject(Trouble.ERROR, self.CREATE, after=1, times=3)
        with cloud.driver().launch(SPEC, IGNITION, MACHINE, prepared) as instance:
            assert instance.lost() is None
            assert sum("/networkInterfaces/" in one for one in cloud.left()) == 1

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"location": ""}, "no location: -P location=NAME"),
            ({"resource_group": "nowhere", "location": ""}, "ResourceGroupNotFound"),
            ({"subscription": "1-2"}, "subscription 1-2: .*SubscriptionNotFound"),
            ({"subscription": ""}, "no subscription: -P subscription=ID or AZURE_SUBSCRIPTION_ID"),
            ({"endpoint": "http://203.0.113.1"}, "so https except on this host"),
        ],
    )
    def test_what_is_missing_is_said_before_anything_is_made(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], problem: str
    ) -> None:
        if options.get("subscription") == "":
            monkeypatch.delenv("AZURE_SUBSCRIPTION_ID")
        with pytest.raises(ConfigError, match=problem):
            cloud.driver(worker="main", **options).prepare(cloud.published)
        assert cloud.left() == []

    @pytest.mark.parametrize(
        ("image", "problem"),
        [
            ("ubuntu", "expected the id of an image in Azure"),
            (f"{GROUPS}/g/providers/Microsoft.Compute/images/i", "ResourceGroupNotFound"),
            (f"{GROUPS}/published/providers/Microsoft.Compute/images/i", "ResourceNotFound"),
        ],
    )
    def test_images_that_cannot_be_used(self, cloud: Cloud, image: str, problem: str) -> None:
        with pytest.raises(ConfigError, match=f"^--image cloud:{image}: .*{problem}"):
            cloud.driver(worker="main").prepare(replace(cloud.published, reference=f"cloud:{image}"))

    def test_an_image_that_is_elsewhere(self, cloud: Cloud) -> None:
        with pytest.raises(ConfigError, match="is not in eastus but in West Europe"):
            cloud.driver(worker="main", location="eastus").prepare(cloud.published)

    def test_a_vhd_that_azure_does_not_take_is_the_providers_failure(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vhd, "footer", lambda *_: b"c" * vhd.FOOTER_BYTES)
        with pytest.raises(PlatformError, match="not a fixed VHD"):
            cloud.driver(worker="main").prepare(cloud.local)
        self.sweep(cloud)
        assert cloud.left() == []

    def test_a_large_image_with_holes_interrupted_and_resumed(self, cloud: Cloud, tmp_path: Path) -> None:
        """1 GiB with 20 MiB in it: only the pieces with data are sent, and of these none twice; memory for one."""
        disk = tmp_path / "large.raw"
        with disk.open("wb") as file:
            file.truncate(1 << 30)
            for number in range(20):
                file.seek(number * (50 << 20))
                file.write(bytes([number + 1]) * (1 << 20))
        driver: Any = cloud.driver(worker="main")
        driver._make_group("upload", tags())
        name = storage.account_name("test")
        account = storage.make_account(driver._clients, "upload", name, "westeurope", tags())
        blob = account.blob("large.vhd")
        cloud.rehearsal.faults.inject(Trouble.DENIED, "PutPage", after=7)
        with pytest.raises(PlatformError, match="upload_page"):
            storage.upload_disk(blob, disk, "7" * 64, driver.call)
        cloud.rehearsal.faults.clear()
        cloud.rehearsal.faults.inject(Trouble.CUT, "PutPage", after=2, times=2)
        told: list[tuple[int, int]] = []
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sent = storage.upload_disk(blob, disk, "7" * 64, driver.call, lambda _, done, total: told.append((done, total)))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        calls = cloud.rehearsal.faults.log.count("PutPage")
        assert told[-1] == ((1 << 30) + 512,) * 2
        windows = {number * (50 << 20) // vhd.PIECE_BYTES for number in range(20)}
        windows |= {(number * (50 << 20) + (1 << 20) - 1) // vhd.PIECE_BYTES for number in range(20)}
        assert sent == (len(windows) - 7) * vhd.PIECE_BYTES + 512
        assert calls == len(windows) - 7 + 1 + 2
        print(f"sent {sent} bytes in {calls} calls after 7 of {len(windows)} pieces, memory grown by {grown} KiB")
        stored = cloud.rehearsal.front.blobs.find(f"{name}/kola/large.vhd").path  # type: ignore[attr-defined]
        subprocess.run(["cmp", f"--bytes={1 << 30}", str(disk), str(stored)], check=True)
        assert grown < 128 << 10  # KiB, of the server, too


@pytest.mark.parametrize(
    ("status", "code", "throttled"),
    [
        (429, "TooManyRequests", True),
        (429, "OperationNotAllowed", True),
        (429, "SubscriptionRequestsThrottled", True),
        (503, "ServerBusy", True),
        (429, "RetryableErrorDueToAnotherOperation", False),  # of one resource only
        (500, "InternalServerError", False),
        (409, "OperationNotAllowed", False),
    ],
)
def test_who_is_called_too_often_says_so(status: int, code: str, *, throttled: bool) -> None:
    verdict = verdict_on(status, code, "too many requests")
    assert (verdict.throttled, verdict.fault) == (throttled, Fault.TRANSIENT)


@pytest.mark.parametrize(
    ("status", "code", "message", "fault"),
    [
        (409, "SkuNotAvailable", "", Fault.CAPACITY),
        (409, "OperationNotAllowed", "exceeding approved Total Regional Cores quota", Fault.CAPACITY),
        (409, "OperationNotAllowed", "is being deleted", Fault.TRANSIENT),
        (400, "NicReservedForAnotherVm", "", Fault.TRANSIENT),
        (429, "SubscriptionRequestsThrottled", "", Fault.TRANSIENT),
        (503, "ServerTimeout", "", Fault.TRANSIENT),
        (400, "InvalidResourceReference", "", Fault.MISSING),
        (404, "SubscriptionNotFound", "", Fault.FATAL),
        (403, "AuthorizationFailed", "", Fault.FATAL),
        (409, "ScopeLocked", "", Fault.FATAL),
    ],
)
def test_errors(status: int, code: str, message: str, fault: Fault) -> None:
    verdict = verdict_on(status, code, message)
    assert (verdict.fault, verdict.retry_after) == (fault, 7.0)
    assert verdict.message == f"{code}: {message or 'more'}"


def test_other_errors_are_not_azures() -> None:
    assert classify(ValueError("x")) is None


@pytest.mark.parametrize("mib", [1, 3, 504, 2048, 40_000])
def test_the_footer_is_what_qemu_img_writes(tmp_path: Path, mib: int) -> None:
    size = mib << 20
    made = tmp_path / "made.vhd"
    command = ["qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on", str(made), str(size)]
    subprocess.run(command, check=True)
    with made.open("rb") as file:
        file.seek(-vhd.FOOTER_BYTES, 2)
        theirs = file.read()
    ours = vhd.footer(size, "ab" * 32)
    same = [slice(0, 8), slice(12, 24), slice(36, 56), slice(60, 64), slice(84, 512)]
    assert [ours[part] for part in same] == [theirs[part] for part in same]
    assert ours[68:84] == b"\xab" * 16
    total = ~(sum(ours) - sum(ours[64:68])) & 0xFFFF_FFFF
    assert ours[64:68] == total.to_bytes(4, "big")


@pytest.mark.parametrize("mib", [1, 3, 40, 504, 2048, 200_000])
def test_the_geometry_is_what_qemu_img_writes(tmp_path: Path, mib: int) -> None:
    """Of a size that is a whole number of tracks, which QEMU makes of any that is not forced."""
    made = tmp_path / "made.vhd"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=fixed", str(made), f"{mib}M"], check=True)
    with made.open("rb") as file:
        file.seek(-vhd.FOOTER_BYTES, 2)
        theirs = file.read()
    assert vhd.footer(int.from_bytes(theirs[48:56], "big"), "00" * 32)[56:60] == theirs[56:60]


def test_a_fixed_vhd_is_sent_without_the_footer_that_it_has(tmp_path: Path) -> None:
    disk = tmp_path / "disk.vhd"
    content = bytes(range(256)) * 6000
    disk.write_bytes(content + vhd.footer(2 << 20, "00" * 32))
    assert vhd.content_bytes(disk) == len(content)
    assert vhd.disk_bytes(disk) == 2 << 20
    assert list(vhd.pieces(disk)) == [(0, content)]
