"""What Compute Engine is asked for: an instance, the firewall rules of a run. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from kola.cloud.options import words
from kola.errors import ConfigError

if TYPE_CHECKING:
    from kola.cloud.platform import Order
    from kola.cloud.tags import Tags
    from platforms.gcp.options import Options

_LONGEST = 63
_DISKS = 15
_LONGEST_RUN = 120 * 86400
"""Seconds that Compute Engine can be told to let an instance live at most."""


def resource_name(name: str, token: str) -> str:
    """Return a name as Compute Engine wants it (RFC 1035): another one for every token."""
    end = hashlib.sha256(token.encode()).hexdigest()[:6]
    plain = re.sub(r"[^a-z0-9-]", "-", name.lower())[: _LONGEST - len(end) - 1]
    return f"{plain.rstrip('-')}-{end}"


def network_tag(run: str) -> str:
    """Return the tag of a run's machines, by which its firewall rules find them."""
    return f"kola-{run}"[:_LONGEST]


def rules(tags: Tags, options: Options) -> list[dict[str, Any]]:
    """Return the firewall rules of a run: SSH from outside, everything among the machines."""
    target = network_tag(tags.run)
    common = {
        "network": network(options.network),
        "direction": "INGRESS",
        "target_tags": [target],
        "description": tags.as_text(),
    }
    return [
        {
            **common,
            "name": f"{target[: _LONGEST - 4]}-ssh",
            "source_ranges": [options.allow_from],
            "allowed": [{"I_p_protocol": "tcp", "ports": ["22"]}],
        },
        {
            **common,
            "name": f"{target[: _LONGEST - 7]}-inside",
            "source_tags": [target],
            "allowed": [{"I_p_protocol": "all"}],
        },
    ]


def network(name: str) -> str:
    """Return the path of a network."""
    return name if "/" in name else f"global/networks/{name}"


def instance(order: Order, name: str, options: Options) -> dict[str, Any]:
    """Return the instance to make.

    Raises:
        ConfigError: it needs more than Compute Engine has.
    """
    labels = order.tags.as_labels()
    wanted: dict[str, Any] = {
        "name": name,
        "machine_type": f"zones/{order.zone}/machineTypes/{order.kind.name}",
        "labels": labels,
        "tags": {"items": words(options.network_tags) or [network_tag(order.tags.run)]},
        "disks": _disks(order, options, labels),
        "metadata": {"items": [{"key": "user-data", "value": order.user_data.decode()}]},
        "network_interfaces": [_interface(options)],
        "scheduling": _scheduling(order.tags, options),
        "shielded_instance_config": {
            "enable_secure_boot": options.secure_boot,
            "enable_vtpm": options.vtpm,
            "enable_integrity_monitoring": options.vtpm,
        },
    }
    if options.service_account:
        scope = "https://www.googleapis.com/auth/cloud-platform"
        wanted["service_accounts"] = [{"email": options.service_account, "scopes": [scope]}]
    if "nested" in words(options.features):
        wanted["advanced_machine_features"] = {"enable_nested_virtualization": True}
    for kind in options.confidential:
        wanted["confidential_instance_config"] = {
            "enable_confidential_compute": True,
            "confidential_instance_type": kind,
        }
    return wanted


def _disks(order: Order, options: Options, labels: dict[str, str]) -> list[dict[str, Any]]:
    extra = order.spec.disks
    if len(extra) > _DISKS or any(disk.serial for disk in extra):
        raise ConfigError(f"platform gcp: at most {_DISKS} extra disks, and none with a serial of its own")
    common = {"disk_type": f"zones/{order.zone}/diskTypes/{options.disk_type}", "labels": labels}
    boot: dict[str, Any] = {**common, "source_image": order.image}
    if order.spec.disk_gib is not None:
        boot["disk_size_gb"] = order.spec.disk_gib
    more = [{**common, "disk_size_gb": disk.size_gib} for disk in extra]
    return [
        {"boot": True, "auto_delete": True, "initialize_params": boot},
        *({"auto_delete": True, "initialize_params": disk} for disk in more),
    ]


def _interface(options: Options) -> dict[str, Any]:
    wanted: dict[str, Any] = {"network": network(options.network)}
    if options.subnet:
        subnet = options.subnet
        wanted = {"subnetwork": subnet if "/" in subnet else f"regions/{options.region}/subnetworks/{subnet}"}
    if options.address == "public":
        wanted["access_configs"] = [{"name": "External NAT", "type_": "ONE_TO_ONE_NAT"}]
    if options.confidential:
        wanted["nic_type"] = "GVNIC"
    return wanted


def _scheduling(tags: Tags, options: Options) -> dict[str, Any]:
    """Have the instance deleted by Google itself when nobody does, and never started again on its own."""
    wanted: dict[str, Any] = {
        "automatic_restart": False,
        "instance_termination_action": "DELETE",
        "max_run_duration": {"seconds": min(max(tags.ttl, 60), _LONGEST_RUN)},
    }
    if options.spot:
        wanted["provisioning_model"] = "SPOT"
    if options.spot or options.confidential:
        wanted["on_host_maintenance"] = "TERMINATE"
    return wanted
