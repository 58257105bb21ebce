"""Random Butane configs, written from the specification documents of coreos/butane, not from our translator.

Most are right; in some, one value is of a wrong type, out of range, misspelt, or of a later version.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0", "1.6.0")
SHA512 = "sha512-" + "0123456789abcdef" * 8
SHA256 = "sha256-" + "0123456789abcdef" * 4
GUID = "8DA63339-0007-60C0-C436-083AC8230908"
UNIT = "[Unit]\nDescription=made for a test\n[Service]\nExecStart=/bin/true\n"
INSTALLED = UNIT + "[Install]\nWantedBy=multi-user.target\n"
INNER = '{"ignition": {"version": "3.%d.0"}}'


@dataclass(frozen=True)
class Raw:
    """A scalar as it is written in YAML."""

    text: str


class Generator:
    """One config for one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"butane {seed}")  # noqa: S311 - no secret
        self.minor = self.random.randrange(len(VERSIONS))
        self.names = 0

    def config(self) -> str:
        """Return the YAML text."""
        tree: dict[str, Any] = {"variant": "fcos", "version": VERSIONS[self.minor]}
        sections: dict[str, tuple[int, Callable[[], Any]]] = {
            "ignition": (0, self.ignition), "storage": (0, self.storage), "systemd": (0, self.systemd),
            "passwd": (0, self.passwd), "kernel_arguments": (4, self.kernel_arguments),
            "boot_device": (3, self.boot_device), "grub": (5, self.grub),
        }  # fmt: skip
        for name in self.random.sample(sorted(sections), self.random.randint(1, 3)):
            since, make = sections[name]
            if self.knows(since):
                tree[name] = make()
        if self.random.random() < 0.3:
            self.spoil(tree)
        return "\n".join(_yaml(tree, 0)) + "\n"

    # -- choices -----------------------------------------------------------------------------------------------------

    def knows(self, since: int) -> bool:
        """Whether a version has something; now and then it is used in one that has not."""
        return self.minor >= since or self.random.random() < 0.03

    def some(self, **members: Any) -> dict[str, Any]:
        """Return some of the members, each a value or a function that makes one; ``None`` is left out."""
        made = {}
        for name, value in members.items():
            if self.random.random() < 0.5:
                found = value() if callable(value) else value
                if found is not None:
                    made[name] = found
        return made

    def several(self, make: Callable[[], Any], most: int = 3) -> list[Any]:
        return [make() for _ in range(self.random.randint(1, most))]

    def pick(self, *values: Any) -> Any:
        return self.random.choice(values)

    def name(self) -> str:
        self.names += 1
        return f"{self.pick('web', 'db', 'log-1', 'x.y', 'cache_')}{self.names}"

    def truth(self) -> Any:
        return self.pick(True, True, False, Raw("yes"), Raw("no"), Raw("on"), Raw("True"))

    def number(self) -> Any:
        return self.pick(0, 1, 5, 500, 1000, Raw("0x10"), Raw("1_000"), Raw("010"))

    def mode(self) -> Any:
        return self.pick(*map(Raw, ("0644", "0600", "0o755", "0755", "420", "0x1a4", "0", "0444", "644", "755")))

    def since(self, minor: int, value: Any) -> Any:
        return (value() if callable(value) else value) if self.knows(minor) else None

    # -- parts -------------------------------------------------------------------------------------------------------

    def owner(self) -> dict[str, Any]:
        return dict(self.pick({"id": 500}, {"name": "core"}, {"id": 0}, {}))

    def text(self) -> Any:
        return self.pick(
            "hello", "", "two\nlines\n", "a" * 3000, "ünïcödé ✓", "50% & more, #1: \"quoted\" 'x'",
            Raw("123"), Raw("1.50"), Raw("true"), "\ttab", "data:,x",
        )  # fmt: skip

    def remote(self) -> dict[str, Any]:
        return {
            "source": self.pick("http://example.com/a", "https://example.com/b?c=d", "tftp://x/y", "s3://bucket/key",
                                "data:,x%20y", "gs://bucket/key" if self.minor >= 2 else "http://x/z"),
            **self.some(
                verification=lambda: {"hash": self.pick(SHA512, SHA256 if self.minor >= 1 else SHA512)},
                compression=lambda: self.pick("", "gzip"),
            ),
        }  # fmt: skip

    def resource(self, *, inline_since: int = 1) -> dict[str, Any]:
        if self.random.random() < 0.6 and self.knows(inline_since):
            return {"inline": self.text()}
        made = self.remote()
        if made["source"].startswith("http") and self.knows(1) and self.random.random() < 0.3:
            made["http_headers"] = [{"name": "X-Test", "value": self.name()}]
        return made

    def plain_resource(self) -> dict[str, Any]:
        """A resource of the section ignition: one of 1.0.0 has no compression."""
        made = self.resource()
        if self.minor < 1:
            made.pop("compression", None)
        return made

    def ignition(self) -> dict[str, Any]:
        def config() -> dict[str, Any]:
            if self.minor >= 1 and self.random.random() < 0.4:
                minor = {1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 6: 5}[self.minor]
                return {"inline": self.pick(INNER % minor, INNER % minor, "no config")}
            return {"source": f"https://example.com/{self.name()}.ign", **self.some(verification={"hash": SHA512})}

        return self.some(
            config=lambda: self.some(merge=lambda: self.several(config), replace=config),
            timeouts=lambda: self.some(http_response_headers=self.number, http_total=self.number),
            security=lambda: {"tls": {"certificate_authorities": self.several(self.plain_resource)}},
            proxy=lambda: self.since(1, lambda: self.some(
                http_proxy="http://proxy:3128", https_proxy="https://proxy:3129", no_proxy=["10.0.0.0/8", "*.lan"])),
        )  # fmt: skip

    def file(self) -> dict[str, Any]:
        contents = {"contents": self.resource(inline_since=0)} if self.random.random() < 0.8 else {}
        return {
            "path": f"/etc/{self.name()}", **contents,
            **self.some(mode=self.mode, user=self.owner, group=self.owner,
                        append=lambda: self.several(lambda: self.resource(inline_since=0)),
                        overwrite=lambda: self.truth() if contents else False),
        }  # fmt: skip

    def partition(self) -> dict[str, Any]:
        made = {"label": self.name(), **self.some(number=self.random.randint(1, 120))}
        made |= self.some(size_mib=self.pick(0, 100, 1024), type_guid=GUID, wipe_partition_entry=self.truth)
        made |= self.some(resize=lambda: self.since(2, self.truth))
        return made

    def filesystem(self) -> dict[str, Any]:
        made = {
            "device": f"/dev/disk/by-partlabel/{self.name()}",
            "format": self.pick("xfs", "ext4", "btrfs", "vfat", "swap", "none" if self.minor >= 4 else "xfs"),
            **self.some(
                wipe_filesystem=self.truth, label=lambda: self.pick("data", "x"), uuid="ab-cd", options=["-q"],
                mount_options=lambda: self.since(1, ["noatime", "ro"]),
            ),
        }  # fmt: skip
        if made["format"] not in {"swap", "none"}:
            made["path"] = f"/{self.pick('var', 'var/lib', 'etc')}/{self.pick('', 'a b/', '.c/', 'ü-')}{self.name()}"
        if made["format"] != "none" and self.random.random() < 0.6 and self.knows(1 if "path" in made else 4):
            made["with_mount_unit"] = self.truth()
        return made

    def luks(self) -> dict[str, Any]:
        tang = {"url": "http://tang.example.com", "thumbprint": "AbC-1"}
        if self.minor >= 5 and self.random.random() < 0.3:
            tang["advertisement"] = '{"payload": "x"}'
        clevis = self.pick({"tpm2": True}, {"tang": [tang]}, {"tang": [tang], "tpm2": True, "threshold": 2})
        return {
            "name": self.name(), "device": f"/dev/disk/by-partlabel/{self.name()}",
            **self.some(clevis=lambda: clevis, wipe_volume=self.truth, label="secret", uuid="x", options=["--x"],
                        key_file=self.resource, discard=lambda: self.since(5, self.truth),
                        open_options=lambda: self.since(5, ["--perf-no_read_workqueue"])),
        }  # fmt: skip

    def storage(self) -> dict[str, Any]:
        made = self.some(
            files=lambda: self.several(self.file, 4),
            directories=lambda: self.several(lambda: {
                "path": f"/var/{self.name()}", **self.some(mode=self.mode, user=self.owner, overwrite=self.truth)}),
            links=lambda: self.several(lambda: {
                "path": f"/opt/{self.name()}", "target": self.pick("/usr/bin/x", "../y"),
                **self.some(hard=self.truth)}),
            disks=lambda: self.several(lambda: {
                "device": f"/dev/disk/by-id/{self.pick('coreos-boot-disk', self.name())}",
                **self.some(wipe_table=self.truth, partitions=lambda: self.several(self.partition))}, 1),
            raid=lambda: [{"name": self.name(), "level": self.pick("raid0", "raid1", "raid10", "linear"),
                           "devices": ["/dev/sdb", "/dev/sdc"], **self.some(options=["--x"])}],
            filesystems=lambda: self.several(self.filesystem),
            luks=lambda: self.since(2, lambda: self.several(self.luks, 2)),
        )  # fmt: skip
        if "luks" in made and self.random.random() < 0.5:  # one that is mounted
            device = self.pick("/dev/mapper/", "/dev/disk/by-id/dm-name-") + made["luks"][0]["name"]
            made["filesystems"] = [
                {"device": device, "format": "xfs", "path": "/var/secret", "with_mount_unit": True}
            ]  # fmt: skip
        return made

    def systemd(self) -> dict[str, Any]:
        def dropin() -> dict[str, Any]:
            return {"name": f"{self.name()}.conf", "contents": self.pick("[Service]\nNice=5\n", "")}

        def unit() -> dict[str, Any]:
            kind = self.random.random()
            name = f"{self.name()}.{self.pick('service', 'timer', 'mount', 'socket')}"
            if kind < 0.5:
                return {"name": name, "enabled": self.truth(), "contents": INSTALLED}
            if kind < 0.7:
                return {"name": name, "mask": True}
            return {"name": name, "dropins": self.several(dropin, 2), **self.some(contents=UNIT)}

        return {"units": self.several(unit)}

    def passwd(self) -> dict[str, Any]:
        def user() -> dict[str, Any]:
            return {
                "name": self.name(),
                **self.some(  # noqa: S604 - the shell is a member of the config
                    ssh_authorized_keys=["ssh-ed25519 AAAA a", "ssh-rsa BBBB b"], password_hash="$y$j9T$x",
                    groups=["wheel", "sudo"], uid=self.number, gecos="A B", home_dir="/var/home/x",
                    shell="/bin/sh",
                    no_create_home=self.truth, no_user_group=self.truth, no_log_init=self.truth, system=self.truth,
                    primary_group="users", should_exist=lambda: self.since(2, self.truth),
                ),
            }  # fmt: skip

        def group() -> dict[str, Any]:
            return {"name": self.name(), **self.some(gid=self.number, system=self.truth, password_hash="x")}

        return self.some(users=lambda: self.several(user), groups=lambda: self.several(group))

    def kernel_arguments(self) -> dict[str, Any]:
        return self.some(should_exist=["quiet", "console=ttyS0"], should_not_exist=["mitigations=auto,nosmt"])

    def boot_device(self) -> dict[str, Any]:
        tang = [{"url": "https://tang.example.com", "thumbprint": "x"}]
        layouts = ["x86_64", "aarch64", "ppc64le", *(["s390x-virt", "s390x-eckd"] if self.minor >= 6 else [])]
        layout = self.pick(*layouts)
        luks = self.some(tpm2=self.truth, tang=tang, threshold=1, discard=lambda: self.since(5, self.truth))
        if layout == "s390x-eckd":
            luks["device"] = self.pick("/dev/dasda", "/dev/dasdb", "/dev/sda")
        if layout.startswith("s390x") and self.random.random() < 0.5:
            luks["cex"] = {"enabled": True}
        made = {"layout": layout, "luks": luks} if self.random.random() < 0.7 or layout == "s390x-eckd" else {}
        mirror = {"devices": [f"/dev/sd{letter}" for letter in "abc"[: self.random.randint(1, 3)]]}
        if self.random.random() < (0.1 if layout.startswith("s390x") else 0.6):
            made["mirror"] = mirror
        return made

    def grub(self) -> dict[str, Any]:
        return {"users": self.several(lambda: {"name": self.name(), "password_hash": "grub.pbkdf2.sha512.10000.AB"})}

    # -- mistakes ----------------------------------------------------------------------------------------------------

    def spoil(self, tree: Any) -> None:
        """Make one mistake somewhere below the sections."""
        places = [place for place in _places(tree) if place[1] not in {"variant", "version"}]
        if not places:
            return
        owner, key = self.random.choice(places)
        match self.random.randrange(7):
            case 0:
                owner[key] = self.pick(Raw("abc"), 5, [1], {"a": 1}, Raw("1.5x"), "0644", True)
            case 1 if isinstance(owner, dict):
                owner[f"{key}x"] = owner.pop(key)
            case 2 if isinstance(owner, dict):
                del owner[key]
            case 3:
                owner[key] = self.pick(-1, Raw("99999"), "relative/path", "/etc//twice", "")
            case 4 if isinstance(owner, list):
                owner.append(owner[key])
            case 5:
                owner[key] = Raw("null")
            case _:
                if isinstance(owner, dict):
                    owner[self.pick("mode", "source", "inline", "local", "enabled", "label")] = self.pick("x", True, 7)


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        found += [(value, key), *_places(item)]
    return found


def _yaml(value: Any, depth: int) -> list[str]:
    pad = "  " * depth
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            nested = _yaml(item, depth + 1)
            lines += [f"{pad}{key}: {nested[0].strip()}"] if _is_short(item) else [f"{pad}{key}:", *nested]
        return lines
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            nested = _yaml(item, depth + 1)
            lines += [f"{pad}- {nested[0].strip()}", *nested[1:]]
        return lines
    if isinstance(value, Raw):
        return [pad + value.text]
    return [pad + json.dumps(value)]  # every JSON scalar is one of YAML


def _is_short(value: Any) -> bool:
    return not isinstance(value, (dict, list)) or not value
