"""The metadata service of EC2, version 2 only: without a token there is nothing."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from werkzeug import Response

from rehearsal.guest import HOST

if TYPE_CHECKING:
    from werkzeug import Request

    from rehearsal.host import Machine

_TTL = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "X-aws-ec2-metadata-token"  # noqa: S105 - a header's name


def answer(machine: Machine, request: Request) -> Response:
    """Answer a guest."""
    if request.path == "/latest/api/token":
        if request.method != "PUT" or not request.headers.get(_TTL, "").isdecimal():
            return Response(status=400)
        token = machine.tags.setdefault("token", secrets.token_urlsafe(32))
        return Response(token, headers={_TTL: request.headers[_TTL]})
    if request.headers.get(_TOKEN) != machine.tags.get("token", ""):
        return Response(status=401)
    path = request.path.partition("/")[2].partition("/")[2]  # without the version
    if path == "user-data" and machine.user_data:
        # What is on this host's loopback a guest reaches at another address.
        return Response(machine.user_data.replace(b"http://127.0.0.1:", f"http://{HOST}:".encode()))
    region = machine.tags["region"]
    simple = {
        "meta-data/instance-id": machine.id,
        "meta-data/instance-type": machine.tags["type"],
        "meta-data/placement/availability-zone": f"{region}a",
        "meta-data/placement/region": region,
        "meta-data/public-ipv4": machine.address,
    }
    if path == "dynamic/instance-identity/document":
        document = {
            "accountId": machine.tags["account"],
            "instanceId": machine.id,
            "region": region,
            "version": "2017-09-30",
        }
        return Response(json.dumps(document))
    return Response(simple[path]) if path in simple else Response(status=404)
