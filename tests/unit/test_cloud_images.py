"""What clouds have of a release, from the metadata of streams and of releases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kola.errors import ConfigError
from kola.metadata import PlatformImage, build_image, cloud_images, platform_image

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
GOOGLES = PlatformImage("gcp", VERSION, NAME, project=PROJECT, family=FAMILY, stream="stable")


def find(document: Any, *args: str) -> PlatformImage:
    return platform_image(json.dumps(document).encode(), "doc.json", *args)


@pytest.mark.parametrize("document", [STREAM, RELEASE], ids=["stream", "release"])
def test_where_there_is_an_image(document: Any) -> None:
    ami = "ami-0000000000000000b" if document is STREAM else "ami-0000000000000000c"
    assert find(document, "aws", "x86_64", "us-east-1") == PlatformImage(
        "aws", VERSION, ami, "us-east-1", stream="stable"
    )
    assert find(document, "gcp", "x86_64") == GOOGLES
    assert find(document, "gcp", "x86_64", "europe-west1") == GOOGLES, "it is in all regions"


@pytest.mark.parametrize("document", [STREAM, RELEASE], ids=["stream", "release"])
@pytest.mark.parametrize("platform", ["azure", "digitalocean", "openstack", "qemu", "vmware"])
def test_where_there_is_a_file(document: Any, platform: str) -> None:
    found = find(document, platform, "x86_64", "anywhere")
    assert found.artifact is not None
    assert (found.version, found.image, found.region) == (VERSION, "", "")
    assert found.artifact.location == f"{BASE}/fedora-coreos-{VERSION}-{platform}.x86_64.{FORMATS[platform]}"
    assert found.artifact.signature == f"{found.artifact.location}.sig"
    assert found.artifact.sha256 == "ab" * 32
    assert found.artifact.stream == found.stream == "stable"


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
        (NOT_DISK, ("metal", "x86_64"), "doc.json: architectures.x86_64.artifacts.metal.formats: no disk image (vhd."),
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


# -- builds ----------------------------------------------------------------------------------------------------------


def artifact(platform: str, suffix: str) -> dict[str, str]:
    return {"path": f"fedora-coreos-42.dev-{platform}.x86_64.{suffix}", "sha256": "cd" * 32}


# As coreos-assembler writes it, uploads and all.
META: dict[str, Any] = {
    "buildid": "42.dev",
    "ref": "fedora/x86_64/coreos/testing-devel",
    "images": {
        "ostree": {"path": "fedora-coreos-42.dev.ociarchive", "sha256": "ef" * 32},
        "qemu": artifact("qemu", "qcow2"),
        "aws": artifact("aws", "vmdk"),
        "azure": artifact("azure", "vhd"),
        "gcp": {**artifact("gcp", "tar.gz"), "skip-compression": True},
    },
    "amis": [
        {"name": "us-east-1", "hvm": "ami-1", "snapshot": "snap-1"},
        {"name": "eu-west-1", "hvm": "ami-2", "snapshot": "snap-2"},
    ],
    "azure": {"image": "fedora-coreos-42.dev-azure.x86_64.vhd", "url": "https://x.blob.core.windows.net/vhd/x.vhd"},
    "gcp": {"image": "fcos-42-dev", "url": "https://storage.googleapis.com/x", "project": "p", "family": "f"},
}
FILES_ONLY = {key: value for key, value in META.items() if key not in {"amis", "azure", "gcp"}}


def of_build(document: Any, *args: str) -> PlatformImage:
    return build_image(json.dumps(document).encode(), "meta.json", *args)


def test_what_clouds_have_of_a_build() -> None:
    known: Any = {"version": "42.dev", "stream": "testing-devel"}
    assert of_build(META, "aws", "eu-west-1") == PlatformImage("aws", image="ami-2", region="eu-west-1", **known)
    google = of_build(META, "gcp", "us-central1")
    assert google == PlatformImage("gcp", image="fcos-42-dev", project="p", family="f", **known)
    assert google.reference == "projects/p/global/images/fcos-42-dev"
    in_own_project = of_build({**META, "gcp": {"image": "fcos-42-dev", "url": "x"}}, "gcp")
    assert in_own_project.reference == "fcos-42-dev"


@pytest.mark.parametrize("platform", ["aws", "azure", "gcp", "qemu"])
def test_files_of_a_build(platform: str) -> None:
    found = of_build({**FILES_ONLY, "amis": []}, platform, "anywhere").artifact
    assert found is not None
    assert found.location == META["images"][platform]["path"]
    assert (found.stream, found.container) == ("testing-devel", "fedora-coreos-42.dev.ociarchive")


def test_a_blob_of_azure_is_no_image() -> None:
    found = of_build(META, "azure")
    assert found.image == ""
    assert found.artifact is not None
    assert found.artifact.location.endswith("-azure.x86_64.vhd")


@pytest.mark.parametrize(
    ("document", "args", "expected"),
    [
        (META, ("aws", "mars"), "meta.json: amis: not in mars; there is: eu-west-1, us-east-1"),
        (META, ("aws",), "meta.json: amis: name a region; there is: eu-west-1, us-east-1"),
        ({**META, "amis": [{"name": "x"}]}, ("aws", "x"), "meta.json: amis[0]: no 'hvm'; there is: name"),
        ({**META, "gcp": []}, ("gcp",), "meta.json: gcp: expected an object"),
        ({**FILES_ONLY, "images": {"qemu": {}}}, ("aws", "x"), "meta.json: images: no 'aws'; there is: qemu"),
    ],
)
def test_what_a_build_has_not(document: Any, args: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        of_build(document, *args)
    assert str(caught.value) == expected
