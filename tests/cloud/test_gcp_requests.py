"""What the gcp driver asks for and what it makes of errors, as far as that is pure."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests
from google.api_core.exceptions import from_http_status
from google.auth.exceptions import RefreshError, TransportError

from kola.cloud.platform import Order
from kola.cloud.sizes import InstanceType, read_table
from kola.cloud.tags import Tags
from kola.errors import ConfigError
from kola.retry import Fault
from kola.spec import Disk, MachineSpec
from platforms.gcp import request
from platforms.gcp.driver import Gcp
from platforms.gcp.errors import OperationError, classify
from platforms.gcp.images import Reference
from platforms.gcp.options import Options
from tests.cloud.contract import MACHINE

TAGS = Tags("run1", "me", "gw0", MACHINE, 1000, 7200)


def order(**spec: Any) -> Order:
    kind = InstanceType("n2-standard-2", "x86_64", 2, 8192)
    return Order(MACHINE, TAGS, "t1", "projects/p/global/images/i", kind, "us-central1-a", MachineSpec(**spec), b"{}")


def test_what_an_instance_is_asked_for() -> None:
    plain = request.instance(order(), "n", Options())
    assert "service_accounts" not in plain
    assert plain["scheduling"]["instance_termination_action"] == "DELETE"
    assert plain["scheduling"]["max_run_duration"] == {"seconds": 7200}
    assert plain["shielded_instance_config"] == {
        "enable_secure_boot": False, "enable_vtpm": True, "enable_integrity_monitoring": True,
    }  # fmt: skip
    assert plain["network_interfaces"][0]["access_configs"]
    assert len(plain["disks"]) == 1
    chosen = Options(
        spot=True, address="private", subnet="s", service_account="a@b", secure_boot=True, features="nested, sev-snp"
    )
    more = request.instance(order(disk_gib=20, disks=(Disk(3),)), "n", chosen)
    assert more["service_accounts"][0]["email"] == "a@b"
    assert more["scheduling"]["provisioning_model"] == "SPOT"
    assert more["scheduling"]["on_host_maintenance"] == "TERMINATE"
    assert more["network_interfaces"] == [{"subnetwork": "regions/us-central1/subnetworks/s", "nic_type": "GVNIC"}]
    assert [disk["initialize_params"]["disk_size_gb"] for disk in more["disks"]] == [20, 3]
    assert all(
        disk["auto_delete"] and disk["initialize_params"]["labels"] == TAGS.as_labels() for disk in more["disks"]
    )
    assert more["shielded_instance_config"]["enable_secure_boot"]
    assert more["advanced_machine_features"] == {"enable_nested_virtualization": True}
    assert more["confidential_instance_config"]["confidential_instance_type"] == "SEV_SNP"


def test_more_than_there_is() -> None:
    for disks in ((Disk(1),) * 16, (Disk(1, "mine"),)):
        with pytest.raises(ConfigError, match="at most 15 extra disks, and none with a serial"):
            request.instance(order(disks=disks), "n", Options())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"secure_boot": True, "vtpm": False}, "-P secure-boot=true needs -P vtpm=true"),
        ({"features": "sev,tdx"}, "-P features=sev,tdx: one of "),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Options(**options)


def test_names_are_what_google_takes_and_differ_by_token() -> None:
    names = {request.resource_name(name, token) for name in ("kola-r1-gw0-1", "Ä" * 80, "a.b-") for token in ("1", "2")}
    assert len(names) == 6
    assert all(re.fullmatch(r"[a-z-][a-z0-9-]{0,61}[a-z0-9]", name) for name in names)
    assert request.resource_name("kola-r1-gw0-1", "1").startswith("kola-r1-gw0-1-")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("i", "projects/p/global/images/i"),
        ("family/f", "projects/p/global/images/family/f"),
        ("q/i", "projects/q/global/images/i"),
        ("q/family/f", "projects/q/global/images/family/f"),
        ("projects/q/global/images/i", "projects/q/global/images/i"),
        ("projects/q/global/images/family/f", "projects/q/global/images/family/f"),
        ("https://compute.googleapis.com/compute/v1/projects/q/global/images/i", "projects/q/global/images/i"),
    ],
)
def test_ways_to_name_an_image(text: str, path: str) -> None:
    assert str(Reference.parse(text, "p")) == path


@pytest.mark.parametrize("text", ["", "a/b/c", "q/family/", "/i"])
def test_an_image_that_nobody_can_name(text: str) -> None:
    with pytest.raises(ConfigError, match="expected cloud: and NAME, family/NAME"):
        Reference.parse(text, "p")


def api(status: int, reason: str) -> Any:
    return from_http_status(status, "message", errors=[{"reason": reason, "message": "in short\nand at length"}])


@pytest.mark.parametrize(
    ("error", "fault", "message"),
    [
        (api(403, "rateLimitExceeded"), Fault.TRANSIENT, "rateLimitExceeded: in short"),
        (api(403, "quotaExceeded"), Fault.CAPACITY, "quotaExceeded: in short"),
        (api(403, "forbidden"), Fault.FATAL, "forbidden: in short"),
        (api(404, "notFound"), Fault.MISSING, "notFound: in short"),
        (api(400, "resourceInUseByAnotherResource"), Fault.TRANSIENT, "resourceInUseByAnotherResource: in short"),
        (api(400, "invalid"), Fault.FATAL, "invalid: in short"),
        (api(503, "backendError"), Fault.TRANSIENT, "backendError: in short"),
        (from_http_status(429, "slow"), Fault.TRANSIENT, "429: slow"),
        (OperationError("QUOTA_EXCEEDED", "no"), Fault.CAPACITY, "QUOTA_EXCEEDED: no"),
        (OperationError("RESOURCE_NOT_FOUND", "no"), Fault.MISSING, "RESOURCE_NOT_FOUND: no"),
        (RefreshError("<html>"), Fault.TRANSIENT, "an answer that is none of Google's token service"),
        (RefreshError("invalid_grant: no", {}), Fault.FATAL, "credentials: invalid_grant: no"),
        (TransportError("x"), Fault.TRANSIENT, "no connection to Google's token service"),
        (requests.ConnectionError("x?upload_id=1"), Fault.TRANSIENT, "no connection to Google (ConnectionError)"),
    ],
)
def test_what_an_error_means(error: Exception, fault: Fault, message: str) -> None:
    verdict = classify(error)
    assert verdict is not None
    assert (verdict.fault, verdict.message) == (fault, message)


def test_an_error_of_ours_is_not_googles() -> None:
    assert classify(ValueError("x")) is None


def test_the_table_of_types() -> None:
    table = read_table(Gcp.types_table)
    assert {kind.arch for kind in table} == {"x86_64", "aarch64"}
    assert all(kind.usd_per_hour for kind in table)
