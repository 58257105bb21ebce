"""A container image in an OCI archive, made here, with one file in its only layer."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any


def write_oci_archive(path: Path, tag: str, file: str, contents: bytes) -> None:
    """Write it (OCI Image Format Specification, image layout, as a tar)."""
    blobs: dict[str, bytes] = {}

    def add(media_type: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    data = _tar({file: contents})
    layer = add("layer.v1.tar", data)
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}"]}
    config = add("config.v1+json", _json({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}))
    manifest = add("manifest.v1+json", _json({"schemaVersion": 2, "config": config, "layers": [layer]}))
    manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
    index = _json({"schemaVersion": 2, "manifests": [manifest]})
    path.write_bytes(_tar({"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index, **blobs}))


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
