"""The API of AWS as far as the driver needs it: EC2, S3, STS on one port."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, ClassVar
from xml.sax.saxutils import escape

from moto.core.base_backend import BackendDict
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.responses import EC2Response
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug import Request, Response

from rehearsal.aws import metadata, storage
from rehearsal.aws.backend import ACTIONS, HostBackend
from rehearsal.faults import Trouble
from rehearsal.frontend import FrontEnd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    from rehearsal.host import CloudHost, Machine

ACCOUNT = "123456789012"
REGION = "us-east-1"
KEY_ID = "AKIAREHEARSAL0000000"
_REFUSALS = {
    Trouble.THROTTLE: (503, "RequestLimitExceeded", "Request limit exceeded."),
    Trouble.ERROR: (500, "InternalError", "An internal error has occurred"),
    Trouble.CAPACITY: (500, "InsufficientInstanceCapacity", "We currently do not have sufficient capacity"),
    Trouble.QUOTA: (400, "VcpuLimitExceeded", "You have requested more vCPU capacity than your current limit"),
    Trouble.EXPIRED: (400, "ExpiredToken", "The security token included in the request is expired"),
    Trouble.DENIED: (403, "UnauthorizedOperation", "You are not authorized to perform this operation."),
    Trouble.MISSING: (400, "InvalidInstanceID.NotFound", "The instance ID does not exist"),
}
_WRONG_KEY = Response(
    "<Response><Errors><Error><Code>AuthFailure</Code><Message>wrong key</Message></Error></Errors></Response>",
    status=401,
    content_type="text/xml",
)
_S3_REFUSALS = {
    Trouble.THROTTLE: (503, "SlowDown", "Please reduce your request rate."),
    Trouble.DENIED: (403, "AccessDenied", "Access Denied"),
    Trouble.MISSING: (404, "NoSuchKey", "The specified key does not exist."),
}
_S3_CALLS = {
    ("POST", "uploads"): "CreateMultipartUpload",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("PUT", "uploadId"): "UploadPart",
    ("GET", "uploadId"): "ListParts",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "tagging"): "PutObjectTagging",
    ("GET", "list-type"): "ListObjectsV2",
    ("GET", "location"): "GetBucketLocation",
}


class Aws(FrontEnd):
    """moto's servers behind one address."""

    ignition_platform: ClassVar[str] = "aws"

    def __init__(self, host: CloudHost) -> None:
        super().__init__(host)
        _forget()
        ec2_backends.backend = type("RehearsedBackend", (HostBackend,), {"host": host, "__module__": "moto.ec2.models"})
        for action in ACTIONS:
            setattr(EC2Response, action.__name__, action)
        self._moto = DomainDispatcherApplication(create_backend_app)

    @property
    def backend(self) -> Any:
        """EC2 in the one region where machines can be had."""
        return ec2_backends[ACCOUNT][REGION]

    def call_name(self, request: Request) -> str:
        """Return EC2's and STS's ``Action``, or what S3 calls this."""
        if action := request.form.get("Action"):
            return str(action)
        for (method, key), name in _S3_CALLS.items():
            if request.method == method and key in request.args:
                return name
        bucket, _, key = request.path.strip("/").partition("/")
        verb = {"PUT": "Put" if key else "Create", "POST": "Post"}.get(request.method, request.method.capitalize())
        return f"{verb}{'Object' if key else 'Bucket' if bucket else 'Buckets'}"

    def refuse(self, trouble: Trouble, request: Request, call: str) -> Response:  # noqa: ARG002
        """Say it as EC2 or S3 does."""
        if "Action" not in request.form:
            return _s3_error(*_S3_REFUSALS.get(trouble, _REFUSALS[trouble]))
        status, code, message = _REFUSALS[trouble]
        error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        body = f"<Response><Errors>{error}</Errors><RequestID>rehearsal</RequestID></Response>"
        if request.form.get("Version", "").startswith("2011"):  # STS
            body = f"<ErrorResponse>{error}<RequestId>rehearsal</RequestId></ErrorResponse>"
        return Response(body, status=status, content_type="text/xml")

    def wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Hand a call that carries the right key, in a signature of version 4, to moto."""
        request = Request(environ)
        body = request.get_data()
        if f"{KEY_ID}/" not in request.headers.get("Authorization", "") + request.args.get("X-Amz-Credential", ""):
            return _WRONG_KEY(environ, start_response)
        if "Action" not in request.form and (refusal := storage.refusal(request, self.call_name(request))):
            return _s3_error(*refusal)(environ, start_response)
        environ["wsgi.input"] = io.BytesIO(body)
        self.backend.refresh()
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer

    def metadata(self, machine: Machine, request: Request) -> Response:
        """Answer a guest."""
        return metadata.answer(machine, request)

    def environment(self) -> Mapping[str, str]:
        """Return a key that is good here only."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def options(self) -> Mapping[str, str]:
        """Return where this is."""
        return {"endpoint": self.url, "region": REGION}

    def register(self, name: str) -> str:
        """Offer an image of the host as an AMI."""
        architecture = {"aarch64": "arm64"}.get(self.host.arch.name, self.host.arch.name)
        return str(self.backend.add_ami(name, f"published-{len(self.backend.amis)}", architecture))

    def resources(self) -> list[str]:
        """Return everything that the driver, or anybody, made."""
        ec2 = self.backend
        ec2.refresh()
        instances = [each for reservation in ec2.reservations.values() for each in reservation.instances]
        published = {ami.id: ami.ebs_snapshot.id for ami in ec2.amis.values() if str(ami.name).startswith("published-")}
        groups = [each for groups in ec2.groups.values() for each in groups.values() if each.name != "default"]
        found = [f"instance {each.id}" for each in instances if each._state.name != "terminated"]  # noqa: SLF001
        found += [f"machine {each}" for each in self.host.machines]
        found += [f"volume {each}" for each in ec2.volumes]
        found += [f"image {each}" for each in ec2.amis if each not in published]
        found += [f"snapshot {each}" for each in ec2.snapshots if each not in published.values()]
        found += [f"import task {each}" for each in ec2.running_imports()]
        found += [f"security group {each.id}" for each in groups]
        for name, bucket in s3_backends[ACCOUNT]["aws"].buckets.items():
            found += [f"object {name}/{key}" for key in bucket.keys]
            found += [f"upload {name}/{upload}" for upload in bucket.multiparts]
        return sorted(found)

    def close(self) -> None:
        """Forget everything."""
        _forget()
        ec2_backends.backend = EC2Backend


def _s3_error(status: int, code: str, message: str) -> Response:
    """Return an error as S3 words it."""
    body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Response(body, status=status, content_type="text/xml")


def _forget() -> None:
    """Drop moto's state: what its own reset keeps would still be on the host of the last rehearsal."""
    BackendDict.reset()
    for backends in (ec2_backends, s3_backends):
        backends.clear()
