"""What clouds have of a release, from the metadata of streams and of releases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kola.errors import ConfigError
from kola.metadata import CloudImage, cloud_image, cloud_images

VERSION = "42.20250901.3.0"
BASE = f"https://builds.coreos.fedoraproject.org/prod/streams/stable/builds/{VERSION}/x86_64"
PROJECT, FAMILY, NAME = "fedora-coreos-cloud", "fedora-coreos-stable", "fedora-coreos-42-20250901-3-0-gcp-x86-64"
FORMATS = {
    "aws": "vmdk.xz", "azure": "vhd.xz", "digitalocean": "qcow2.gz", "gcp": "tar.gz", "metal": "iso",
    "openstack": "qcow2.xz", "qemu": "qcow2.xz", "vmware": "ova",
}  # fmt: skip


def disk(platform: str) -> dict[str, Any]:
    location = f"{BASE}/fedora-coreos-{VERSION}-{platform}.x86_64.{FORMATS[platform]}"
    return {FORMATS[platform]: {"disk": {"location": location, "signature": f"{location}.sig", "sha256": "ab" * 32}}}


# As the stream generator of Fedora CoreOS writes it.
STREAM = {
    "stream": "stable",
    "metadata": {"last-modified": "2025-09-16T00:00:00Z", "generator": "fedora-coreos-stream-generator v0.2.18"},
    "architectures": {
        "x86_64": {
            "artifacts": {name: {"release": VERSION, "formats": disk(name)} for name in FORMATS},
            "images": {
                "aws": {
                    "regions": {
                        "eu-west-1": {"release": VERSION, "image": "ami-0000000000000000a"},
                        "us-east-1": {"release": VERSION, "image": "ami-0000000000000000b"},
                    }
                },
                "gcp": {"release": VERSION, "project": PROJECT, "family": FAMILY, "name": NAME},
                "kubevirt": {"release": VERSION, "image": "quay.io/fedora/fedora-coreos-kubevirt:stable"},
            },
        },
        "s390x": {"artifacts": {"openstack": {"release": VERSION, "formats": disk("openstack")}}},
    },
}
MEDIA: dict[str, Any] = {name: {"artifacts": disk(name)} for name in FORMATS}
MEDIA["aws"]["images"] = {"us-east-1": {"image": "ami-0000000000000000c"}}
MEDIA["gcp"]["image"] = {"project": PROJECT, "family": FAMILY, "name": NAME}
RELEASE = {
    "release": VERSION,
    "stream": "stable",
    "architectures": {"x86_64": {"commit": "c" * 64, "media": MEDIA}},
}
GOOGLES = CloudImage("gcp", VERSION, NAME, project=PROJECT, family=FAMILY)


def find(document: Any, *args: str) -> CloudImage:
    return cloud_image(json.dumps(document).encode(), "doc.json", *args)


@pytest.mark.parametrize("document", [STREAM, RELEASE], ids=["stream", "release"])
def test_where_there_is_an_image(document: Any) -> None:
    ami = "ami-0000000000000000b" if document is STREAM else "ami-0000000000000000c"
    assert find(document, "aws", "x86_64", "us-east-1") == CloudImage("aws", VERSION, ami, "us-east-1")
    assert find(document, "gcp", "x86_64") == GOOGLES
    assert find(document, "gcp", "x86_64", "europe-west1") == GOOGLES, "it is in all regions"


@pytest.mark.parametrize("document", [STREAM, RELEASE], ids=["stream", "release"])
@pytest.mark.parametrize("platform", ["azure", "digitalocean", "openstack", "vmware"])
def test_where_there_is_a_file(document: Any, platform: str) -> None:
    found = find(document, platform, "x86_64", "anywhere")
    assert found.artifact is not None
    assert (found.version, found.image, found.region) == (VERSION, "", "")
    assert found.artifact.location == f"{BASE}/fedora-coreos-{VERSION}-{platform}.x86_64.{FORMATS[platform]}"
    assert found.artifact.signature == f"{found.artifact.location}.sig"
    assert found.artifact.sha256 == "ab" * 32


def test_all_of_them() -> None:
    found = cloud_images(json.dumps(STREAM).encode(), "doc.json", "x86_64")
    assert [(one.platform, one.region) for one in found] == [
        ("aws", "eu-west-1"), ("aws", "us-east-1"), ("azure", ""), ("digitalocean", ""), ("gcp", ""), ("kubevirt", ""),
        ("openstack", ""), ("vmware", ""),
    ]  # fmt: skip
    (release,) = [one for one in cloud_images(json.dumps(RELEASE).encode(), "x", "x86_64") if one.platform == "aws"]
    assert release.image == "ami-0000000000000000c"
    assert len(cloud_images(json.dumps(STREAM).encode(), "doc.json", "s390x")) == 1


NOT_DISK = {"architectures": {"x86_64": {"artifacts": {"metal": {"release": "1", "formats": disk("metal")}}}}}


@pytest.mark.parametrize(
    ("document", "args", "expected"),
    [
        (STREAM, ("aws", "x86_64"), "doc.json: aws on x86_64: has an image in each region, name one: eu-west-1, us-e"),
        (STREAM, ("aws", "x86_64", "mars"), "doc.json: architectures.x86_64.images.aws.regions: no 'mars'; there is: "),
        (STREAM, ("aws", "s390x", "us-east-1"), "doc.json: architectures.s390x.artifacts: no 'aws'; there is: openst"),
        (STREAM, ("aws", "riscv64", "us-east-1"), "doc.json: architectures: no 'riscv64'; there is: s390x, x86_64"),
        (STREAM, ("esx", "x86_64"), "doc.json: architectures.x86_64.artifacts: no 'esx'; there is: aws, azure, "),
        (RELEASE, ("esx", "x86_64"), "doc.json: architectures.x86_64.media: no 'esx'; there is: aws, azure, "),
        (NOT_DISK, ("metal", "x86_64"), "doc.json: architectures.x86_64.artifacts.metal.formats: no 'vhd.xz'; there"),
        (
            {"architectures": {"x86_64": {"images": []}}},
            ("aws", "x86_64"),
            "doc.json: architectures.x86_64.images: exp",
        ),
        (
            {"architectures": {"x86_64": {"media": {"aws": {}}}}, "release": "1"},
            ("aws", "x86_64"),
            "doc.json: architectures.x8",
        ),
        ({}, ("aws", "x86_64"), "doc.json: no 'architectures'; there is: nothing"),
    ],
)
def test_what_there_is_not(document: Any, args: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find(document, *args)
    assert str(caught.value).startswith(expected), caught.value
    assert "\n" not in str(caught.value)
