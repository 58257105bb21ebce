"""The Ignition configuration specification 3.0.0 to 3.6.0 as one table.

Each member says since which version it exists; lists say what identifies an entry, which rules both duplicates and
merging. Source: the specification documents of coreos/ignition (``docs/configuration-v3_*.md``).
"""

from __future__ import annotations

from kola.ignition import checks
from kola.ignition.parts import BOOL, INT, TEXT, UNIQUE, Where, by, itself, resource
from kola.ignition.shapes import Doubt, Field, Items, Object, Scalar, Tree
from kola.ignition.storage import NODE_LISTS, STORAGE

LATEST_MINOR = 6


def _unit(value: Tree) -> Where:
    contents = value.get("contents")
    if value.get("enabled") and contents and not checks.has_install_section(contents):
        yield "enabled", Doubt("has no effect: the contents have no [Install] section")


def _instances(value: Tree) -> Where:
    contents = {unit["name"]: unit.get("contents") for unit in value.get("units", [])}
    for index, unit in enumerate(value.get("units", [])):
        stem, at, instance = unit["name"].partition("@")
        template = contents.get(f"{stem}@.service")
        instantiated = at and instance != ".service" and instance.endswith(".service")
        if unit.get("enabled") and instantiated and template and not checks.has_install_section(template):
            yield f"units[{index}].enabled", Doubt(f"has no effect: {stem}@.service has no [Install] section")


def _files_against_units(value: Tree) -> Where:
    """A unit with contents is a file as well."""
    written = {}
    for unit in value.get("systemd", {}).get("units", []):
        if unit.get("contents"):
            written[f"/etc/systemd/system/{unit['name']}"] = unit["name"]
        for dropin in unit.get("dropins", []):
            if dropin.get("contents"):
                written[f"/etc/systemd/system/{unit['name']}.d/{dropin['name']}"] = unit["name"]
    for name in NODE_LISTS:
        for index, node in enumerate(value.get("storage", {}).get(name, [])):
            if node["path"] in written:
                yield f"storage.{name}[{index}].path", f"is also written by the systemd unit {written[node['path']]}"


_DROPIN = Object(
    {
        "name": Field(Scalar(str, checks.dropin_name), required=True),
        "contents": Field(Scalar(str, checks.unit_contents)),
    }
)
_UNIT = Object(
    {
        "name": Field(Scalar(str, checks.unit_name), required=True),
        "enabled": Field(BOOL),
        "mask": Field(BOOL),
        "contents": Field(Scalar(str, checks.unit_contents)),
        "dropins": Field(Items(_DROPIN, key=by("name"))),
    },
    (_unit,),
)
_USER = Object(
    {
        "name": Field(Scalar(str, checks.account_name), required=True),
        "passwordHash": Field(TEXT),
        "sshAuthorizedKeys": Field(Items(Scalar(str, checks.ssh_key), key=itself)),
        "uid": Field(INT),
        "gecos": Field(TEXT),
        "homeDir": Field(TEXT),
        "noCreateHome": Field(BOOL),
        "primaryGroup": Field(TEXT),
        "groups": Field(Items(Scalar(str, checks.account_name), key=itself)),
        "noUserGroup": Field(BOOL),
        "noLogInit": Field(BOOL),
        "shell": Field(TEXT),
        "shouldExist": Field(BOOL, 2),
        "system": Field(BOOL),
    }
)
_GROUP = Object(
    {
        "name": Field(Scalar(str, checks.account_name), required=True),
        "gid": Field(INT),
        "passwordHash": Field(TEXT),
        "shouldExist": Field(BOOL, 2),
        "system": Field(BOOL),
    }
)
_IGNITION = Object(
    {
        "version": Field(TEXT, required=True),
        "config": Field(
            Object(
                {
                    "merge": Field(Items(resource(since=1, required=True), key=by("source"))),
                    "replace": Field(resource(since=1)),
                }
            )
        ),
        "timeouts": Field(Object({"httpResponseHeaders": Field(INT), "httpTotal": Field(INT)})),
        "security": Field(
            Object(
                {
                    "tls": Field(
                        Object(
                            {"certificateAuthorities": Field(Items(resource(since=1, required=True), key=by("source")))}
                        )
                    )
                }
            )
        ),
        "proxy": Field(
            Object(
                {
                    "httpProxy": Field(Scalar(str, checks.proxy_url)),
                    "httpsProxy": Field(Scalar(str, checks.secure_proxy_url)),
                    "noProxy": Field(UNIQUE),
                }
            ),
            1,
        ),
    }
)
CONFIG = Object(
    {
        "ignition": Field(_IGNITION, required=True),
        "storage": Field(STORAGE),
        "systemd": Field(Object({"units": Field(Items(_UNIT, key=by("name")))}, (_instances,))),
        "passwd": Field(
            Object(
                {
                    "users": Field(Items(_USER, key=by("name"))),
                    "groups": Field(Items(_GROUP, key=by("name"))),
                }
            )
        ),
        "kernelArguments": Field(
            Object(
                {"shouldExist": Field(UNIQUE), "shouldNotExist": Field(UNIQUE)},
                one_key_space=frozenset({"shouldExist", "shouldNotExist"}),
            ),
            3,
        ),
    },
    (_files_against_units,),
)
