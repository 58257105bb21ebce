"""The metadata service of Compute Engine: who does not say that he knows what it is gets nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug import Response

from rehearsal.guest import HOST

if TYPE_CHECKING:
    from werkzeug import Request

    from rehearsal.host import Machine

FLAVOR = {"Metadata-Flavor": "Google"}


def answer(machine: Machine, request: Request) -> Response:
    """Answer a guest."""
    if request.headers.get("Metadata-Flavor") != "Google":
        return Response(status=403)
    tags = machine.tags
    known = {
        "instance/id": tags["id"],
        "instance/name": tags["name"],
        "instance/hostname": f"{tags['name']}.{tags['zone']}.c.{tags['project']}.internal",
        "instance/machine-type": f"projects/1/machineTypes/{tags['type']}",
        "instance/zone": f"projects/1/zones/{tags['zone']}",
        "instance/network-interfaces/0/access-configs/0/external-ip": machine.address,
        "project/project-id": tags["project"],
    }
    path = request.path.removeprefix("/computeMetadata/v1/")
    if path == "instance/attributes/user-data" and machine.user_data:
        # What is on this host's loopback a guest reaches at another address.
        data = machine.user_data.replace(b"http://127.0.0.1:", f"http://{HOST}:".encode())
        return Response(data, headers=FLAVOR)
    return Response(known[path], headers=FLAVOR) if path in known else Response(status=404, headers=FLAVOR)
