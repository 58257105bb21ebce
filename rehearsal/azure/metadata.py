"""What a machine is told: by the metadata service, and by the disc in its drive, on which its custom data is."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from pycdlib.pycdlib import PyCdlib
from werkzeug import Response

from rehearsal.guest import HOST

if TYPE_CHECKING:
    from werkzeug import Request

    from rehearsal.host import Machine

_VERSIONS = ("2021-01-01", "2021-02-01", "2021-12-13")
_ENVIRONMENT = """<?xml version="1.0" encoding="utf-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:wa="http://schemas.microsoft.com/windowsazure">
<wa:ProvisioningSection><wa:Version>1.0</wa:Version>
<LinuxProvisioningConfigurationSet xmlns="http://schemas.microsoft.com/windowsazure">
<ConfigurationSetType>LinuxProvisioningConfiguration</ConfigurationSetType>
<HostName>{name}</HostName><UserName>core</UserName>
<DisableSshPasswordAuthentication>true</DisableSshPasswordAuthentication>
<CustomData>{data}</CustomData>
</LinuxProvisioningConfigurationSet></wa:ProvisioningSection>
<wa:PlatformSettingsSection><wa:Version>1.0</wa:Version></wa:PlatformSettingsSection>
</Environment>
"""


def answer(machine: Machine, request: Request) -> Response:
    """Answer a guest: its user data is what is in the tag of that name, base64, and mostly empty."""
    if request.headers.get("Metadata") != "true" or "X-Forwarded-For" in request.headers:
        return Response(json.dumps({"error": "Bad request. Required metadata header not specified"}), status=400)
    if request.args.get("api-version") not in _VERSIONS:
        return Response(json.dumps({"error": f"api-version: one of {', '.join(_VERSIONS)}"}), status=400)
    if request.path == "/metadata/instance/compute/userData":
        if request.args.get("format") != "text":
            return Response(json.dumps({"error": "format=text is needed for a leaf"}), status=400)
        return Response(machine.tags.get("userData", ""), content_type="text/plain")
    if request.path == "/metadata/instance/compute":
        compute = {"name": machine.id, "vmSize": machine.tags["size"], "location": machine.tags["location"]}
        return Response(json.dumps(compute), content_type="application/json")
    return Response(json.dumps({"error": "Not found"}), status=404)


def disc(name: str, data: bytes) -> bytes:
    """Return the image of the disc that a machine finds in its drive at its first boot."""
    # What is on this host's loopback a guest reaches at another address.
    data = data.replace(b"http://127.0.0.1:", f"http://{HOST}:".encode())
    environment = _ENVIRONMENT.format(name=escape(name), data=base64.b64encode(data).decode()).encode()
    disc = PyCdlib()
    disc.new(vol_ident="PROVISION", udf="2.60")
    for number, (file, text) in enumerate({"ovf-env.xml": environment, "CustomData.bin": data}.items()):
        disc.add_fp(io.BytesIO(text), len(text), f"/FILE{number}.;1", udf_path=f"/{file}")
    written = io.BytesIO()
    disc.write_fp(written)
    disc.close()
    return written.getvalue()
