"""The registry, request by request as the OCI distribution specification has them."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kola.errors import ConfigError
from kola.faults import Outage
from kola.httpd import HttpServer
from kola.registry import Registry
from tests.unit.test_httpd import ask

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = bytes(range(256)) * 500


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Client:
    """Does what a client does, nothing more."""

    server: HttpServer

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        return ask(self.server, path, method, body, **headers)

    def code(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        response, content = self.ask(method, path, body, **headers)
        return response.status, json.loads(content)["errors"][0]["code"]

    def push_blob(self, name: str, content: bytes) -> str:
        """POST, one PATCH with chunked encoding, PUT: as containers/image does it, which is what podman uses."""
        digest = sha256(content)
        start, _ = self.ask("POST", f"/v2/{name}/blobs/uploads/", b"")
        assert start.status == 202
        half = len(content) // 2
        patch, _ = self.ask("PATCH", start.headers["Location"], iter([content[:half], content[half:]]))
        assert (patch.status, patch.headers["Range"]) == (202, f"0-{len(content) - 1}")
        put, _ = self.ask("PUT", f"{patch.headers['Location']}?digest={digest.replace(':', '%3A')}", b"")
        assert put.status == 201
        assert put.headers["Docker-Content-Digest"] == digest
        assert put.headers["Location"] == f"/v2/{name}/blobs/{digest}"
        return digest

    def push(self, name: str, tag: str, layer: bytes = LAYER) -> str:
        config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
        blobs = [self.push_blob(name, content) for content in (config, layer)]
        manifest = json.dumps(image(*blobs)).encode()
        response, _ = self.ask("PUT", f"/v2/{name}/manifests/{tag}", manifest, Content_Type=IMAGE)
        assert response.status == 201
        assert response.headers["Docker-Content-Digest"] == sha256(manifest)
        return sha256(manifest)


def image(config: str, *layers: str) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 1},
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 1} for layer in layers
        ],
    }


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with HttpServer("10.0.2.2") as server:
        yield Registry(server, tmp_path)


@pytest.fixture
def client(registry: Registry) -> Client:
    return Client(registry.server)


def test_the_base(client: Client) -> None:
    for path in ("/v2/", "/v2"):
        response, _ = client.ask("GET", path)
        assert response.status == 200
        assert response.headers["Docker-Distribution-API-Version"] == "registry/2.0"


def test_what_is_pushed_can_be_pulled_by_tag_and_digest(registry: Registry, client: Client) -> None:
    digest = client.push("team/app", "v1")
    for reference in ("v1", digest):
        head, nothing = client.ask("HEAD", f"/v2/team/app/manifests/{reference}")
        response, content = client.ask("GET", f"/v2/team/app/manifests/{reference}", Accept=IMAGE)
        assert nothing == b""
        assert sha256(content) == digest
        for reply in (head, response):
            assert reply.status == 200
            assert reply.headers["Content-Type"] == IMAGE
            assert reply.headers["Docker-Content-Digest"] == digest
            assert reply.headers["Content-Length"] == str(len(content))
    layer = json.loads(content)["layers"][0]["digest"]
    head, _ = client.ask("HEAD", f"/v2/team/app/blobs/{layer}")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(LAYER)))
    response, blob = client.ask("GET", f"/v2/team/app/blobs/{layer}")
    assert (blob, response.headers["Docker-Content-Digest"]) == (LAYER, layer)
    response, part = client.ask("GET", f"/v2/team/app/blobs/{layer}", Range="bytes=100-199")
    assert (response.status, part) == (206, LAYER[100:200])
    assert registry.tags("team/app") == {"v1": digest}
    assert registry.reference("team/app:v1") == f"10.0.2.2:{registry.server.port}/team/app:v1"


def test_monolithic_uploads(client: Client) -> None:
    digest = sha256(LAYER)
    response, _ = client.ask("POST", f"/v2/one/blobs/uploads/?digest={digest}", LAYER)
    assert (response.status, response.headers["Location"]) == (201, f"/v2/one/blobs/{digest}")
    start, _ = client.ask("POST", "/v2/two/blobs/uploads/", b"")
    response, _ = client.ask("PUT", f"{start.headers['Location']}?digest={digest}", LAYER)
    assert response.status == 201
    for name in ("one", "two"):
        assert client.ask("GET", f"/v2/{name}/blobs/{digest}")[1] == LAYER


def test_longer_digests(client: Client) -> None:
    digest = f"sha512:{hashlib.sha512(b'{}').hexdigest()}"
    assert client.ask("POST", f"/v2/app/blobs/uploads/?digest={digest}", b"{}")[0].status == 201
    assert client.ask("GET", f"/v2/app/blobs/{digest}")[1] == b"{}"
    assert client.ask("PUT", f"/v2/app/manifests/{digest}", b"{}", Content_Type=IMAGE)[0].status == 201
    assert client.ask("HEAD", f"/v2/app/manifests/{digest}")[0].headers["Docker-Content-Digest"] == digest
    assert client.code("POST", f"/v2/app/blobs/uploads/?digest={digest}", b"[]") == (400, "DIGEST_INVALID")


def test_chunks_in_order_and_only_so(client: Client) -> None:
    start, _ = client.ask("POST", "/v2/app/blobs/uploads/", b"")
    where = start.headers["Location"]
    assert client.ask("PATCH", where, LAYER[:1000], Content_Range="0-999")[0].headers["Range"] == "0-999"
    for wrong in ("0-999", "2000-2999", "bytes 1000-1999/*"):
        response, _ = client.ask("PATCH", where, LAYER[:1000], Content_Range=wrong)
        assert (response.status, response.headers["Range"]) == (416, "0-999")
    status, _ = client.ask("GET", where)
    assert (status.status, status.headers["Range"], status.headers["Location"]) == (204, "0-999", where)
    last = f"1000-{len(LAYER) - 1}"
    response, _ = client.ask("PUT", f"{where}?digest={sha256(LAYER)}", LAYER[1000:], Content_Range=last)
    assert response.status == 201
    assert client.code("GET", where) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_cancelled_upload_is_gone(client: Client, tmp_path: Path) -> None:
    start, _ = client.ask("POST", "/v2/app/blobs/uploads/", b"")
    client.ask("PATCH", start.headers["Location"], LAYER)
    assert client.ask("DELETE", start.headers["Location"])[0].status == 204
    assert client.code("PATCH", start.headers["Location"], LAYER) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_mount_falls_back_to_an_upload(client: Client) -> None:
    digest = client.push_blob("from/here", LAYER)
    response, _ = client.ask("POST", f"/v2/to/there/blobs/uploads/?mount={digest}&from=from/here", b"")
    assert response.status == 202
    assert response.headers["Location"].startswith("/v2/to/there/blobs/uploads/")
    assert client.ask("HEAD", f"/v2/to/there/blobs/{digest}")[0].status == 404
    assert client.ask("HEAD", f"/v2/from/here/blobs/{digest}")[0].status == 200


def test_content_that_is_not_what_it_says_is_refused(client: Client) -> None:
    wrong = sha256(b"other")
    assert client.code("POST", f"/v2/app/blobs/uploads/?digest={wrong}", LAYER) == (400, "DIGEST_INVALID")
    assert client.ask("HEAD", f"/v2/app/blobs/{wrong}")[0].status == 404
    assert client.code("POST", "/v2/app/blobs/uploads/?digest=sha256:..", LAYER) == (400, "DIGEST_INVALID")
    manifest = json.dumps({"schemaVersion": 2}).encode()
    assert client.code("PUT", f"/v2/app/manifests/{wrong}", manifest) == (400, "MANIFEST_INVALID")
    assert client.code("PUT", f"/v2/app/manifests/{wrong}", manifest, Content_Type=INDEX) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"config": {}}', b'{"manifests": [1]}', b"\xff"])
def test_a_manifest_that_is_none(client: Client, body: bytes) -> None:
    assert client.code("PUT", "/v2/app/manifests/v1", body, Content_Type=IMAGE) == (400, "MANIFEST_INVALID")


def test_a_manifest_whose_parts_are_missing(client: Client) -> None:
    config = client.push_blob("app", b"{}")
    lacking = json.dumps(image(config, sha256(b"none"))).encode()
    response, content = client.ask("PUT", "/v2/app/manifests/v1", lacking, Content_Type=IMAGE)
    assert response.status == 400
    (error,) = json.loads(content)["errors"]
    assert error["code"] == "MANIFEST_BLOB_UNKNOWN"
    assert error["detail"] == {"digest": sha256(b"none")}
    children = json.dumps({"schemaVersion": 2, "manifests": [{"digest": sha256(b"none")}]}).encode()
    assert client.code("PUT", "/v2/app/manifests/v1", children, Content_Type=INDEX) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert client.code("GET", "/v2/app/tags/list") == (404, "NAME_UNKNOWN")


def test_an_index_keeps_its_media_type(client: Client) -> None:
    digest = client.push("app", "v1")
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"digest": digest}]}).encode()
    assert client.ask("PUT", "/v2/app/manifests/multi", index, Content_Type=INDEX)[0].status == 201
    response, content = client.ask("GET", "/v2/app/manifests/multi")
    assert (response.headers["Content-Type"], content) == (INDEX, index)


def test_a_tag_moves_by_a_push_and_by_the_test(registry: Registry, client: Client) -> None:
    old, new = client.push("app", "latest", b"old"), client.push("app", "latest", b"new")
    assert registry.tags("app") == {"latest": new}
    assert client.ask("HEAD", f"/v2/app/manifests/{old}")[0].status == 200
    registry.tag("app", old, "latest")
    registry.tag("app", "latest", "v1")
    assert registry.tags("app") == {"latest": old, "v1": old}
    assert client.ask("HEAD", "/v2/app/manifests/latest")[0].headers["Docker-Content-Digest"] == old
    with pytest.raises(ConfigError, match="no app:v9; tags: latest, v1"):
        registry.tag("app", "v9", "v10")
    with pytest.raises(ConfigError, match="invalid tag"):
        registry.tag("app", "v1", "v/1")


def test_the_list_of_tags_with_pages(client: Client) -> None:
    for tag in ("c", "a", "b"):
        client.push("app", tag, b"same")
    assert json.loads(client.ask("GET", "/v2/app/tags/list")[1]) == {"name": "app", "tags": ["a", "b", "c"]}
    response, content = client.ask("GET", "/v2/app/tags/list?n=2")
    assert json.loads(content)["tags"] == ["a", "b"]
    assert response.headers["Link"] == '</v2/app/tags/list?n=2&last=b>; rel="next"'
    response, content = client.ask("GET", "/v2/app/tags/list?n=2&last=b")
    assert (json.loads(content)["tags"], response.headers["Link"]) == (["c"], None)
    assert json.loads(client.ask("GET", "/v2/app/tags/list?n=0")[1])["tags"] == []


def test_deleting(registry: Registry, client: Client) -> None:
    digest = client.push("app", "v1")
    registry.tag("app", "v1", "v2")
    assert client.ask("DELETE", "/v2/app/manifests/v2")[0].status == 202
    assert registry.tags("app") == {"v1": digest}
    assert client.ask("DELETE", f"/v2/app/manifests/{digest}")[0].status == 202
    assert client.code("GET", "/v2/app/manifests/v1") == (404, "MANIFEST_UNKNOWN")
    assert client.code("DELETE", f"/v2/app/manifests/{digest}") == (404, "MANIFEST_UNKNOWN")
    layer = sha256(LAYER)
    assert client.ask("DELETE", f"/v2/app/blobs/{layer}")[0].status == 202
    assert client.code("GET", f"/v2/app/blobs/{layer}") == (404, "BLOB_UNKNOWN")
    assert client.code("DELETE", f"/v2/app/blobs/{layer}") == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v2/App/tags/list", (404, "NAME_INVALID")),
        ("GET", "/v2/a/../b/tags/list", (404, "NAME_INVALID")),
        ("GET", "/v2/_uploads/tags/list", (404, "NAME_INVALID")),
        ("GET", "/v2/none/tags/list", (404, "NAME_UNKNOWN")),
        ("GET", "/v2/none/manifests/v1", (404, "MANIFEST_UNKNOWN")),
        ("GET", "/v2/none/blobs/sha256:0", (400, "DIGEST_INVALID")),
        ("GET", f"/v2/none/blobs/sha256:{'0' * 64}", (404, "BLOB_UNKNOWN")),
        ("POST", "/v2/none/manifests/v1", (405, "UNSUPPORTED")),
        ("PUT", "/v2/none/manifests/.v1", (400, "MANIFEST_INVALID")),
    ],
)
def test_errors(client: Client, method: str, path: str, expected: tuple[int, str]) -> None:
    assert client.code(method, path, b'{"mediaType": "x"}' if method == "PUT" else None) == expected


def test_many_push_at_once(registry: Registry, client: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(lambda n: client.push("app", f"v{n}", LAYER + bytes([n])), range(16)))
    assert registry.tags("app") == {f"v{n}": digest for n, digest in enumerate(digests)}
    assert len(set(digests)) == 16


def test_faults_are_those_of_its_server(registry: Registry, client: Client) -> None:
    client.push("app", "v1")
    with registry.server.fault(Outage(500), "/v2/*/manifests/*", first=1):
        assert client.ask("GET", "/v2/app/manifests/v1")[0].status == 500
        assert client.ask("GET", "/v2/app/manifests/v1")[0].status == 200
    assert len(registry.server.requests("/v2/app/manifests/v1", "GET")) == 2
