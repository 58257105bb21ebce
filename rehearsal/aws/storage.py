"""What S3 refuses and moto does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.s3.models import s3_backends

if TYPE_CHECKING:
    from werkzeug import Request


def refusal(request: Request, call: str) -> tuple[int, str, str] | None:
    """Return status, code and message for a call that S3 refuses, or that does not say whose bucket it means.

    Who has only a URL does not have to say it, and a bucket that is being made is ours.
    """
    name = request.path.strip("/").partition("/")[0]
    partition, owner = s3_backends.bucket_accounts.get(name, ("", ""))
    if not owner:
        return None
    expected = request.headers.get("x-amz-expected-bucket-owner", "")
    if not expected and "Authorization" in request.headers and call != "CreateBucket":
        return 400, "MissingSecurityHeader", "a rehearsal wants x-amz-expected-bucket-owner"
    if expected not in {"", owner}:
        return 403, "AccessDenied", "Access Denied"
    upload = s3_backends[owner][partition].buckets[name].multiparts.get(request.args.get("uploadId", ""))
    told = "" if upload is None else upload.metadata.get("x-amz-checksum-algorithm", "")
    sent = request.headers.get("x-amz-sdk-checksum-algorithm", "")
    if call == "UploadPart" and sent != told:
        kinds = f"expected checksum Type: {told.lower() or 'null'}, actual checksum Type: {sent.lower() or 'null'}"
        return 400, "InvalidRequest", f"Checksum Type mismatch occurred, {kinds}"
    if call == "CompleteMultipartUpload" and told:
        body = request.get_data()
        if body.count(b"<Part>") != body.count(f"<Checksum{told}>".encode()):
            return 400, "InvalidRequest", "The complete request must include the checksum for each part."
    return None
