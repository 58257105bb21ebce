"""What makes a value of the right type right or wrong: paths, URLs, modes, names, units."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from kola.ignition.shapes import Doubt, Need, Remark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODE_MAX = 0o7777
UNIT_SUFFIXES = (
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".snapshot",
    ".slice",
    ".scope",
)
RAID_LEVELS = (
    "linear",
    "raid0",
    "0",
    "stripe",
    "raid1",
    "1",
    "mirror",
    "raid4",
    "4",
    "raid5",
    "5",
    "raid6",
    "6",
    "raid10",
    "10",
)
UNREDUNDANT_LEVELS = ("linear", "raid0", "0", "stripe")
_SCHEMES_SINCE = {"data": 0, "http": 0, "https": 0, "tftp": 0, "s3": 0, "gs": 2, "arn": 4}
_HASHES = {"sha512": (128, 0), "sha256": (64, 1)}
_LABEL_MAX = {"ext4": 16, "btrfs": 256, "xfs": 12, "swap": 15, "vfat": 11}
FILESYSTEMS = (*_LABEL_MAX, "none")
_PARTITION_LABEL_MAX = 36
_GUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_DATA_URL = re.compile(r"data:(?P<type>[^,]*?)(?P<base64>;base64)?,(?P<body>.*)", re.DOTALL)
_ARN = re.compile(r"arn:[^:]+:s3:[^:]*:[^:]*:(accesspoint/[^/]+/object/.+|(?!accesspoint/)[^/]+/.+)")


def absolute_path(value: str) -> Iterator[Remark]:
    """A path must be absolute and in its shortest form."""
    if not value.startswith("/"):
        yield f"{value!r} is not an absolute path"
    elif value != "/" and any(part in {"", ".", ".."} for part in value[1:].split("/")):
        yield f"{value!r} is not in its shortest form (no '//', '.', '..' or '/' at the end)"
    elif "\0" in value:
        yield f"{value!r} contains a NUL character"


def optional_path(value: str) -> Iterator[Remark]:
    """Some paths may be empty, which means the same as absent."""
    return absolute_path(value) if value else iter(())


def mode(value: int) -> Iterator[Remark]:
    """A permission mode, a decimal number in JSON."""
    if not 0 <= value <= MODE_MAX:
        yield f"{value} is not a mode; it must be between 0 and {MODE_MAX} (octal 7777; octal 0644 is 420)"
    elif value & 0o7000:
        yield Need(6, f"a mode with setuid, setgid or sticky bit ({value} is octal {value:04o})", ignored=True)


def url(value: str) -> Iterator[Remark]:
    """The source of a resource; empty means an empty one."""
    if not value:
        return
    scheme = value.split(":", 1)[0].lower() if ":" in value else ""
    since = _SCHEMES_SINCE.get(scheme)
    if since is None:
        yield f"{_short(value)} has none of the schemes {', '.join(_SCHEMES_SINCE)}"
        return
    if since:
        yield Need(since, f"the scheme '{scheme}'")
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in value):  # noqa: PLR2004 - the control characters of ASCII
        yield f"{_short(value)} contains a control character; write it as %XX"
    elif scheme == "data":
        try:
            decode_data_url(value)
        except ValueError as e:
            yield f"{_short(value)} is not a data URL: {e}"
    else:
        yield from _remote_url(scheme, value)


def _remote_url(scheme: str, value: str) -> Iterator[Remark]:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as e:
        yield f"{_short(value)} is not a URL: {e}"
        return
    if re.search(r"%(?![0-9A-Fa-f]{2})", parts.netloc + parts.path):
        yield f"{_short(value)} is not a URL: '%' must be followed by two hexadecimal digits"
    elif scheme == "arn":
        if not _ARN.fullmatch(value.split("?", maxsplit=1)[0]):
            yield (
                f"{_short(value)} is not the ARN of an S3 object "
                "(arn:PARTITION:s3:::BUCKET/PATH or arn:PARTITION:s3:REGION:ACCOUNT:accesspoint/NAME/object/PATH)"
            )
    elif not parts.netloc:
        yield f"{_short(value)} names no host or bucket"
    if scheme in {"s3", "arn"} and "" in parse_qs(parts.query, keep_blank_values=True).get("versionId", ()):
        yield f"{_short(value)} has an empty versionId"


def decode_data_url(value: str) -> bytes:
    """Return what a data URL (RFC 2397) holds.

    Raises:
        ValueError: it is malformed.
    """
    match = _DATA_URL.fullmatch(value)
    if match is None:
        raise ValueError("it has no comma before the data")
    media_type = match["type"]
    if media_type and not re.fullmatch(r"([\w.+-]+/[\w.+-]+)?(;[\w.+-]+=([^;,\"]*|\"[^\"]*\"))*", media_type):
        raise ValueError(f"'{media_type}' is neither a media type nor 'base64'")
    body = match["body"]
    if match["base64"]:
        try:
            return base64.b64decode(body, validate=True)
        except ValueError as e:
            raise ValueError(f"its base64 is damaged: {e}") from None
    if bad := re.search(r"%(?![0-9A-Fa-f]{2}).{0,2}", body):
        raise ValueError(f"'{bad[0]}' is not an escape")
    # RFC 2397 allows only these unescaped; Ignition is as strict.
    if bad := re.search(r"[^A-Za-z0-9\-_.!~*'();/?:@&=+$,%]", body):
        raise ValueError(f"'{bad[0]}' must be written as %XX")
    return unquote_to_bytes(body)


def compression(value: str) -> Iterator[Remark]:
    """How a resource is compressed."""
    if value not in {"", "gzip"}:
        yield f"{value!r} is not a compression; known: gzip, or an empty string for none"


def digest(value: str) -> Iterator[Remark]:
    """A verification hash, ``sha512-HEX`` or ``sha256-HEX``."""
    function, _, hexdigits = value.partition("-")
    if function not in _HASHES:
        yield f"{_short(value)} is not a hash of the form sha512-HEX or sha256-HEX"
        return
    length, since = _HASHES[function]
    if not re.fullmatch(rf"[0-9A-Fa-f]{{{length}}}", hexdigits):
        yield f"{_short(value)}: {function}- must be followed by {length} hexadecimal digits"
    if since:
        yield Need(since, f"a hash of type {function}")


def not_empty(value: str) -> Iterator[Remark]:
    """A string that must have at least one character."""
    if not value:
        yield "must not be empty"


def account_name(value: str) -> Iterator[Remark]:
    """The name of a user or group: a field of /etc/passwd."""
    if not value or re.search(r"[\s:/,]", value):
        yield f"{value!r} is not a name (it must not be empty or contain space, ':', ',' or '/')"


def ssh_key(value: str) -> Iterator[Remark]:
    """A line of authorized_keys."""
    if not value.strip() or "\n" in value.strip():
        yield "must be one line of authorized_keys"


def unit_name(value: str) -> Iterator[Remark]:
    """The name of a systemd unit."""
    stem, dot, suffix = value.rpartition(".")
    if dot + suffix not in UNIT_SUFFIXES:
        yield f"{value!r} has none of the suffixes of units: {', '.join(UNIT_SUFFIXES)}"
    elif not stem or "/" in value:
        yield f"{value!r} is not the name of a unit"


def dropin_name(value: str) -> Iterator[Remark]:
    """The name of a drop-in of a unit."""
    if not value.endswith(".conf") or value == ".conf" or "/" in value:
        yield f"{value!r} is not the name of a drop-in; it must end in .conf"


def unit_contents(value: str) -> Iterator[Remark]:
    """Sections and assignments: what systemd would drop with a line in the log is an error here.

    Like Ignition, and unlike systemd, a comment is not recognised between a line that ends in a backslash and the next.
    """
    section = False
    continued = False
    for number, line in enumerate(value.split("\n"), 1):
        text = line.strip()
        if continued:
            continued = text.endswith("\\")
        elif not text or text.startswith(("#", ";")):
            continue
        elif text.startswith("["):
            section = True
            if not re.fullmatch(r"\[[^\[\]]+\]", text):
                yield f"line {number}: {_short(text)} is not a section"
        elif "=" not in text.rstrip("\\") or text.startswith("="):
            yield f"line {number}: {_short(text)} is neither a section nor an assignment"
        else:
            continued = text.endswith("\\")
            if not section:
                yield f"line {number}: {_short(text)} stands before the first section"


def has_install_section(contents: str) -> bool:
    """True if a unit's text has an [Install] section."""
    return any(line.strip() == "[Install]" for line in contents.split("\n"))


def guid(value: str) -> Iterator[Remark]:
    """A GPT GUID; empty means the same as absent."""
    if value and not _GUID.fullmatch(value):
        yield f"{value!r} is not a GUID such as 0FC63DAF-8483-4772-8E79-3D69D8477DE4"


def partition_label(value: str) -> Iterator[Remark]:
    """PARTLABEL."""
    if len(value.encode(errors="replace")) > _PARTITION_LABEL_MAX:
        yield f"longer than {_PARTITION_LABEL_MAX} bytes"
    if ":" in value:
        yield "must not contain ':'"


def filesystem_format(value: str) -> Iterator[Remark]:
    """A file system that Ignition can make; ``none`` only wipes."""
    if value == "none":
        yield Need(3, "the format 'none'")
    elif value and value not in FILESYSTEMS:
        yield f"{value!r} is not a format; known: {', '.join(FILESYSTEMS)}"


def label_for(filesystem: str, label: str) -> Iterator[Remark]:
    """A file system's label must fit its format."""
    limit = _LABEL_MAX.get(filesystem)
    if limit is not None and len(label.encode(errors="replace")) > limit:
        yield f"longer than the {limit} bytes of {filesystem}"


def luks_name(value: str) -> Iterator[Remark]:
    """The name of a LUKS device is a file name under /dev/mapper."""
    if not value or "/" in value:
        yield f"{value!r} must be a name without '/'"


def at_most_bytes(limit: int) -> Callable[[str], Iterator[Remark]]:
    """Make a check for the length of a string."""

    def check(value: str) -> Iterator[Remark]:
        if len(value.encode(errors="replace")) > limit:
            yield f"longer than {limit} bytes"

    return check


def one_of(*allowed: str) -> Callable[[str], Iterator[Remark]]:
    """Make a check against a list of values."""

    def check(value: str) -> Iterator[Remark]:
        if value not in allowed:
            yield f"{value!r} is none of {', '.join(allowed)}"

    return check


def proxy_url(value: str) -> Iterator[Remark]:
    """The URL of a proxy."""
    if not re.match(r"https?://[^/]", value):
        yield f"{_short(value)} is not an http or https URL"


def secure_proxy_url(value: str) -> Iterator[Remark]:
    """The proxy for https had better be https itself."""
    yield from proxy_url(value)
    if value.startswith("http:"):
        yield Doubt("https requests go through an insecure http proxy")


def json_text(value: str) -> Iterator[Remark]:
    """A string that holds JSON; empty means the same as absent."""
    try:
        json.loads(value or "null")
    except ValueError as e:
        yield f"not JSON: {e}"


def natural(value: int) -> Iterator[Remark]:
    """An integer that must not be negative."""
    if value < 0:
        yield f"must not be negative, is {value}"


def _short(value: str, limit: int = 60) -> str:
    return repr(value if len(value) <= limit else value[: limit - 3] + "...")
