"""boto3's clients, and what their errors mean."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)
from botocore.parsers import ResponseParserError

from kola.errors import ConfigError
from kola.retry import Fault, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kola.cloud.tags import Tags
    from platforms.aws.options import Options

T = TypeVar("T")
_THROTTLED = {
    *("RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "SlowDown", "429"),
    *("RequestThrottled", "RequestThrottledException", "TooManyRequestsException", "BandwidthLimitExceeded"),
    *("EC2ThrottledException", "PriorRequestNotComplete"),
}
"""Those that botocore's own retries, which are off, would have tried again; it has no public list of them."""
_BUSY = {
    *("InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout"),
    *("RequestTimeoutException", "ResourceInUse", "VolumeInUse", "DependencyViolation", "IncorrectState"),
    *("IncorrectInstanceState", "OperationAborted", "RequestTimeTooSkewed", "ConcurrentTagAccess"),
}
"""Gone after a while: also what still depends on something that is being deleted (with all codes in ``.InUse``)."""
_IN_USE = "currently in use"
"""What a network interface that is still attached is refused with, under the code of a wrong parameter."""
_SERVER_ERRORS = {500, 502, 503, 504}
"""HTTP statuses: also answers with an empty body or a page in it, which have no code."""
_NO_ROOM = {
    *("InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity", "SpotMaxPriceTooLow"),
    *("Unsupported", "VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded"),
    *("InsufficientFreeAddressesInSubnet", "Server.InsufficientInstanceCapacity"),
}
_GONE = {"NoSuchKey", "NoSuchBucket", "NoSuchUpload", "404", "InvalidSnapshot.NotFound", "InvalidAMIID.Unavailable"}
_S3 = Config(signature_version="s3v4", s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"})
"""Addresses of the bucket in its own region: what is signed for another host is no good after a redirection, and
botocore signs URLs in the old way, which most regions do not take, if it is not told."""


def no_room(code: str) -> bool:
    """Tell whether an error, or the reason of an instance's end, is a lack of capacity or a quota."""
    return code in _NO_ROOM


def classify(error: Exception) -> Verdict | None:
    """Tell what an error of boto3 means; None for one that is not AWS's."""
    if isinstance(error, ClientError):
        described = error.response.get("Error", {})
        code, message = str(described.get("Code", "")), str(described.get("Message", ""))
        line = message.splitlines()[0] if message else "no message"
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        fault = _fault(code)
        if fault is Fault.FATAL and (status in _SERVER_ERRORS or _IN_USE in message):
            fault = Fault.TRANSIENT
        return Verdict(fault, f"{code}: {line}", throttled=code in _THROTTLED)
    if isinstance(error, BotoConnectionError | HTTPClientError):
        return Verdict(Fault.TRANSIENT, f"no connection: {error}")
    if isinstance(error, ResponseParserError):  # what stands before the service answered, not in its language
        return Verdict(Fault.TRANSIENT, "an answer that is none of AWS's")
    if isinstance(error, BotoCoreError) and not isinstance(error, ParamValidationError):
        return Verdict(Fault.FATAL, str(error))
    return None


def _fault(code: str) -> Fault:
    if code in _THROTTLED | _BUSY or code.endswith(".InUse"):
        return Fault.TRANSIENT
    if code in _NO_ROOM:
        return Fault.CAPACITY
    if code in _GONE or code.endswith((".NotFound", "NotFoundException")):
        return Fault.MISSING
    return Fault.FATAL


def once(make: Callable[[], T], duplicate: str, find: Callable[[], T]) -> Callable[[], T]:
    """Return what makes something, or finds it where the error ``duplicate`` says that an earlier attempt made it.

    The answer to that attempt was lost, or it would not be tried again.
    """

    @functools.wraps(make)
    def attempt() -> T:
        try:
            return make()
        except ClientError as e:
            if e.response["Error"]["Code"] != duplicate:
                raise
            return find()

    return attempt


class Clients:
    """The services that kola uses, in one region; made when they are first needed.

    Raises:
        ConfigError: no region, or no such profile.
    """

    def __init__(self, options: Options) -> None:
        # One attempt each: kola.retry is what tries again.
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60, max_pool_connections=50)
        try:
            core = botocore.session.Session(profile=options.profile or None)
            core.register_component("data_loader", _descriptions())
            session = boto3.Session(region_name=options.region or None, botocore_session=core)
            if session.region_name is None:
                raise ConfigError("platform aws: no region: -P region=NAME, AWS_REGION or the profile's")
            given: dict[str, Any] = {"config": config, "endpoint_url": options.endpoint or None}
            self.region: str = session.region_name
            self.ec2 = session.client("ec2", **given)
            self.s3 = session.client("s3", **{**given, "config": config.merge(_S3)})
            self.sts = session.client("sts", **given)
        except (BotoCoreError, ValueError) as e:
            hint = "; see docs/clouds.md" if isinstance(e, NoCredentialsError) else ""
            raise ConfigError(f"platform aws: {e}{hint}") from e


@functools.cache
def _descriptions() -> Any:
    """Return what reads botocore's descriptions of the services: a fifth of a second that is spent once a process."""
    return botocore.loaders.create_loader()


def tag_list(tags: Tags) -> list[dict[str, str]]:
    """Return tags as EC2 wants them; ``Name`` is what its console shows."""
    name = tags.name or f"kola-{tags.run}"
    return [{"Key": key, "Value": value} for key, value in {**tags.as_labels(), "Name": name}.items()]


def tagged(tags: Tags, *resources: str) -> list[dict[str, Any]]:
    """Return the ``TagSpecifications`` of a call that makes these kinds of resources."""
    return [{"ResourceType": resource, "Tags": tag_list(tags)} for resource in resources]


def labels(resource: dict[str, Any]) -> dict[str, str]:
    """Return the tags of a resource as EC2 shows them."""
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", ())}


def pages(client: Any, operation: str, key: str, **given: Any) -> Iterator[dict[str, Any]]:
    """Yield the items of every page of a call that lists."""
    for page in client.get_paginator(operation).paginate(**given):
        yield from page.get(key, ())
