"""What boto3's errors mean, and where its clients go: without a server."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import create_parser

from kola.retry import Fault, Verdict
from platforms.aws.clients import Clients, classify
from platforms.aws.options import Options


def verdict(code: str, message: str = "x", status: int = 400) -> Verdict:
    """Return what the driver makes of an error of AWS."""
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return classified(answer)


def classified(answer: Any) -> Verdict:
    """Return what the driver makes of an answer that botocore has parsed."""
    found = classify(ClientError(answer, "Call"))
    assert found is not None
    return found


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("VolumeInUse", "Volume vol-1 is currently attached to i-1"),
            ("InvalidNetworkInterface.InUse", "The interface is in use"),
            ("InvalidParameterValue", "Network interface 'eni-1' is currently in use."),
        ],
    )
    def test_what_is_still_attached_is_waited_for(self, code: str, message: str) -> None:
        assert verdict(code, message).fault is Fault.TRANSIENT

    @pytest.mark.parametrize(
        "code",
        ["EC2ThrottledException", "RequestThrottled", "PriorRequestNotComplete", "RequestLimitExceeded", "SlowDown"],
    )
    def test_calls_too_often(self, code: str) -> None:
        found = verdict(code)
        assert found.fault is Fault.TRANSIENT
        assert found.throttled

    @pytest.mark.parametrize("protocol", ["ec2", "query", "rest-xml"])
    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    @pytest.mark.parametrize("body", [b"", b"<!doctype html><html><body>Gateway Timeout</body></html>"])
    def test_a_server_that_says_nothing_of_use(self, protocol: str, status: int, body: bytes) -> None:
        """What botocore makes of that is a code like ``504``, or that nothing can be read from it."""
        service, operation = {"ec2": ("ec2", "DescribeVpcs"), "query": ("sts", "GetCallerIdentity")}.get(
            protocol, ("s3", "ListObjectsV2")
        )
        model = botocore.session.Session().get_service_model(service).operation_model(operation)
        answer = {"body": body, "headers": {}, "status_code": status}
        try:
            parsed = create_parser(protocol).parse(answer, model.output_shape)
        except Exception as e:  # noqa: BLE001 - whatever it is goes to the driver
            found = classify(e)
            assert found is not None
        else:
            found = classified(parsed)
        assert found.fault is Fault.TRANSIENT, parsed

    def test_an_unknown_error_of_the_server_passes_and_one_of_ours_does_not(self) -> None:
        assert verdict("Weird", status=503).fault is Fault.TRANSIENT
        assert verdict("Weird", status=400).fault is Fault.FATAL
        assert verdict("InvalidParameterValue", "no such value").fault is Fault.FATAL

    def test_no_room_is_no_error_of_the_server(self) -> None:
        assert verdict("InsufficientInstanceCapacity", status=500).fault is Fault.CAPACITY


class TestWhereS3Is:
    @pytest.fixture(autouse=True)
    def key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key that is good for nothing: nothing is sent."""
        for name, value in {
            "AWS_ACCESS_KEY_ID": "AKIANOTHING000000000",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }.items():
            monkeypatch.setenv(name, value)

    def url(self, region: str, endpoint: str = "") -> Any:
        """Return where a machine would fetch an object."""
        s3 = Clients(Options(region=region, endpoint=endpoint)).s3
        where = {"Bucket": "kola-1-bucket", "Key": "kola-run=1/config"}
        return urlsplit(s3.generate_presigned_url("get_object", Params=where, ExpiresIn=3600))

    @pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "eu-central-1", "ap-east-1"])
    def test_a_url_is_of_the_buckets_region_and_of_signature_version_4(self, region: str) -> None:
        url = self.url(region=region)
        assert url.scheme == "https"
        assert url.netloc == f"kola-1-bucket.s3.{region}.amazonaws.com"
        assert url.path == "/kola-run%3D1/config"
        query = parse_qs(url.query)
        assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
        assert query["X-Amz-SignedHeaders"] == ["host"]
        assert f"/{region}/s3/" in query["X-Amz-Credential"][0]

    def test_a_rehearsal_has_buckets_in_the_path(self) -> None:
        url = self.url(region="us-east-1", endpoint="http://127.0.0.1:5000")
        assert url.netloc == "127.0.0.1:5000"
        assert url.path == "/kola-1-bucket/kola-run%3D1/config"
