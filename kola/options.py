"""The command line and the ini file -> one frozen ``Settings``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from kola.arch import Arch, get_arch, host_arch
from kola.configs import Additions
from kola.errors import ConfigError
from kola.external.choice import Choice
from kola.external.sharding import Shard
from kola.optionvalues import (
    cache_folder,
    clone_limits,
    existing,
    existing_if_given,
    key_uri,
    memory_budget,
    new_file,
    owner_name,
    run_name,
    suite_name,
    times,
)
from kola.sources import BASE_URL, Sources

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from kola.clonecache import Limits as CloneLimits

KEEP = ("never", "failed", "always")


@dataclass(frozen=True)
class Option:
    """One setting: a flag, and an ini option of the same meaning that the flag overrides."""

    flag: str
    ini: str
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    multiple: bool = False
    switch: bool = False
    """Takes no value."""
    alias: str = ""
    """Another spelling of the flag."""


OPTIONS = (
    Option(
        "--platform",
        "kola_platform",
        "boot machines on this platform: aws, azure, gcp, qemu, or package.module:Class",
        "NAME",
    ),
    Option("--arch", "kola_arch", "architecture of the machines (default: this host's)", "ARCH"),
    Option(
        "--image",
        "kola_image",
        "what to boot: testos[:VARIANT], stream:NAME[@VERSION], build:DIR[@ID], or the path of a qcow2 or raw image "
        "(.xz and .gz accepted); on a cloud also VMDK, fixed VHD, tar.gz with disk.raw, and cloud:ID",
        "IMAGE",
    ),
    Option(
        "--image-metadata",
        "kola_image_metadata",
        "what --image=cloud:ID is: an image.json, or the meta.json of its build",
        "FILE",
    ),
    Option(
        "--from-image",
        "kola_from_image",
        "what tests of updates boot, to update it to the release of --image; as --image (see docs/upgrades.md)",
        "IMAGE",
    ),
    Option("--image-url", "kola_image_url", f"server of stream: images (default: {BASE_URL})", "URL"),
    Option(
        "--image-keys",
        "kola_image_keys",
        "keys that stream: images must be signed by (default: Fedora's, if this host has them), or 'none'",
        "FILE",
    ),
    Option("-P", "kola_platform_options", "option of the platform, or a TOML file of them", "KEY=VALUE", multiple=True),
    Option(
        "--append-butane",
        "kola_append_butane",
        "Butane config that the config of every machine is merged with; it wins",
        "FILE",
        multiple=True,
    ),
    Option(
        "--append-ignition",
        "kola_append_ignition",
        "the same with an Ignition config; these come after those in Butane",
        "FILE",
        multiple=True,
    ),
    Option(
        "--debug-systemd-unit",
        "kola_debug_systemd_unit",
        "run this service with SYSTEMD_LOG_LEVEL=debug on every machine: for systemd's own programs",
        "NAME.service",
        multiple=True,
    ),
    Option("--no-clone", "kola_no_clone", "boot every machine, clone none (see docs/clones.md)", switch=True),
    Option(
        "--clone-cache",
        "kola_clone_cache",
        "GiB of the cache folder that machines saved for cloning may take (default: 20)",
        "GIB",
    ),
    Option(
        "--keep-machines",
        "kola_keep_machines",
        "which machines to leave running after their test, for 24 h or until 'kola gc' (default: never)",
        choices=KEEP,
    ),
    Option(
        "--suite",
        "kola_suite",
        "what the tests of this run are together, in its record and for 'kola gate' (default: their folders' names)",
        "NAME",
    ),
    Option("--kola-output", "kola_output", "folder for the runs' results and logs (default: kola-runs)", "DIR"),
    Option(
        "--run-name",
        "kola_run_name",
        "name of this run's folder there, instead of its time and id; an earlier run of that name is replaced, "
        "one that still runs is an error",
        "NAME",
    ),
    Option("--tapfile", "kola_tapfile", "also write the results as TAP, in this file", "FILE"),
    Option(
        "--kola-cache", "kola_cache", "folder for images (default: $KOLA_CACHE, or kola in the user's cache)", "DIR"
    ),
    Option(
        "--memory-budget",
        "kola_memory_budget",
        "memory that all machines of the run may use together: MiB, or 50%% of what is available (default: 80%%)",
        "MIB",
    ),
    Option(
        "-E",
        "kola_external",
        "run the tests in kola's format below PATH/tests/kola",
        "PATH",
        multiple=True,
        alias="--exttest",
    ),
    Option("--test", "kola_test", "only tests whose name matches; as Go's filepath.Match", "GLOB", multiple=True),
    Option("--tag", "kola_tag", "only tests with this tag, or with '!TAG' without it", "TAG", multiple=True),
    Option("--sharding", "kola_sharding", "run one share of the tests, the same as kola's", "hash:M/N"),
    Option("--distro", "kola_distro", "what 'distros' of external tests means (default: the image's)", "NAME"),
    Option("--no-net", "kola_no_net", "skip tests with the tag needs-internet", switch=True),
    Option(
        "--run-platform-independent",
        "kola_run_platform_independent",
        "run tests with the tag platform-independent on any platform, not only on qemu",
        switch=True,
    ),
    Option(
        "--denylist",
        "kola_denylist",
        "denylist in kola's format, beside kola-denylist.yaml of each -E",
        "FILE",
        multiple=True,
    ),
    Option("--denylist-stream", "kola_denylist_stream", "stream for the denylist (default: the image's)", "NAME"),
    Option("--denylist-test", "kola_denylist_test", "leave out tests whose name matches", "GLOB", multiple=True),
    Option(
        "--rerun-failed",
        "kola_rerun_failed",
        "run a test that fails once more on a fresh machine; what passes then is flaky",
        switch=True,
    ),
    Option("--multiply", "kola_multiply", "run every test that often, and tell how often each passed", "N"),
    Option(
        "--sign-key",
        "kola_sign_key",
        "sign the results: a private key in a PEM file, or awskms:, gcpkms:, azurekms:, hv:... (needs the extra gate)",
        "URI",
    ),
    Option("--sign-public-key", "kola_sign_public_key", "the public half of a --sign-key that is in no file", "FILE"),
    Option("--warned-fails", "kola_warned_fails", "exit with 77 if nothing failed but something warned", switch=True),
    Option("--owner", "kola_owner", "name that everything created is tagged with (default: the user's)", "NAME"),
)


@dataclass(frozen=True)
class Settings:
    """What the user asked for; ``platform`` None means that no machine can be booted."""

    platform: str | None
    arch: Arch
    image: str | None
    platform_options: tuple[str, ...]
    clone: bool
    clone_limits: CloneLimits
    keep_machines: str
    output: Path
    cache: Path
    memory_budget_mib: int
    owner: str
    sources: Sources = field(default_factory=Sources)
    image_metadata: Path | None = None
    from_image: str | None = None
    run_name: str = ""
    """Of the run's folder; empty: time and id."""
    tapfile: Path | None = None
    additions: Additions = field(default_factory=Additions)
    external: tuple[Path, ...] = ()
    choice: Choice = field(default_factory=Choice)
    distro: str = ""
    platform_independent: bool = False
    """Whether tests with the tag of that name run on any platform."""
    denylists: tuple[Path, ...] = ()
    denylist_stream: str = ""
    warned_fails: bool = False
    rerun_failed: bool = False
    multiply: int = 1
    suite: str = ""
    sign_key: str = ""
    sign_public_key: Path | None = None
    ini: Path | None = None
    """pytest's configuration file, if it has found one."""


def add_options(parser: pytest.Parser) -> None:
    """Register every flag and its ini twin with pytest."""
    group = parser.getgroup("kola", "machines (kola)")
    for option in OPTIONS:
        group.addoption(*_flags(option), **_argument(option), help=f"{option.help} [ini: {option.ini}]")
        kind: Literal["bool", "linelist", "string"] = (
            "bool" if option.switch else "linelist" if option.multiple else "string"
        )
        parser.addini(option.ini, option.help.replace("%%", "%"), type=kind, default=None)


def add_to(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add some of the options, by their ini names, to a command that is no test run."""
    for option in OPTIONS:
        if option.ini not in names:
            continue
        parser.add_argument(*_flags(option), **_argument(option), help=option.help)


def _flags(option: Option) -> list[str]:
    return [option.flag, *([option.alias] if option.alias else [])]


def _argument(option: Option) -> dict[str, Any]:
    """Return what both parsers have to know of an option."""
    made: dict[str, Any] = {"dest": option.ini, "default": None}
    made["action"] = "store_true" if option.switch else "append" if option.multiple else "store"
    if option.metavar:
        made["metavar"] = option.metavar
    if option.choices:
        made["choices"] = option.choices
    return made


def settings(config: pytest.Config) -> Settings:
    """Read the settings of a test run.

    Raises:
        ConfigError: a value that is not allowed; names the flag.
    """
    made = settings_of({option.ini: _value(config, option) for option in OPTIONS}, config.invocation_params.dir)
    return replace(made, ini=config.inipath)


def settings_of(given: Mapping[str, Any], folder: Path) -> Settings:
    """Make settings of values.

    Args:
        given: ini name of an option -> what the user gave; what is not there, or None, has its default.
        folder: that paths are relative to.

    Raises:
        ConfigError: a value that is not allowed; names the flag.
    """
    values = {option.ini: given.get(option.ini) for option in OPTIONS}
    for option in OPTIONS:  # such as the value of a variable that is not set: else less would be tested than was meant
        value = values[option.ini]
        if value == "" or (option.multiple and "" in (value or ())):
            raise ConfigError(f"{option.flag} '': expected {option.metavar}")
    keep = values["kola_keep_machines"] or "never"
    if keep not in KEEP:
        raise ConfigError(f"kola_keep_machines = {keep}: allowed: {', '.join(KEEP)}")
    return Settings(
        platform=values["kola_platform"] or None,
        arch=get_arch(values["kola_arch"]) if values["kola_arch"] else host_arch(),
        image=values["kola_image"] or None,
        platform_options=tuple(values["kola_platform_options"] or ()),
        clone=not values["kola_no_clone"],
        clone_limits=clone_limits(values["kola_clone_cache"]),
        keep_machines=keep,
        output=(folder / (values["kola_output"] or "kola-runs")).resolve(),
        cache=cache_folder(values["kola_cache"]),
        memory_budget_mib=memory_budget(values["kola_memory_budget"]),
        owner=owner_name(values["kola_owner"]),
        sources=Sources(values["kola_image_url"] or BASE_URL, values["kola_image_keys"] or ""),
        image_metadata=existing_if_given("--image-metadata", folder, values["kola_image_metadata"]),
        from_image=values["kola_from_image"] or None,
        run_name=run_name(values["kola_run_name"] or ""),
        tapfile=new_file("--tapfile", folder, values["kola_tapfile"]) if values["kola_tapfile"] else None,
        additions=Additions(
            butane_files=tuple(folder / path for path in values["kola_append_butane"] or ()),
            ignition_files=tuple(folder / path for path in values["kola_append_ignition"] or ()),
            debug_units=tuple(values["kola_debug_systemd_unit"] or ()),
        ),
        external=tuple(existing("-E", folder, path) for path in values["kola_external"] or ()),
        choice=_choice(values),
        distro=values["kola_distro"] or "",
        platform_independent=bool(values["kola_run_platform_independent"]),
        denylists=tuple(existing("--denylist", folder, path) for path in values["kola_denylist"] or ()),
        denylist_stream=values["kola_denylist_stream"] or "",
        warned_fails=bool(values["kola_warned_fails"]),
        rerun_failed=bool(values["kola_rerun_failed"]),
        multiply=times(values["kola_multiply"] or "1"),
        sign_key=key_uri(folder, values["kola_sign_key"] or ""),
        sign_public_key=existing_if_given("--sign-public-key", folder, values["kola_sign_public_key"]),
        suite=suite_name(values["kola_suite"] or ""),
    )


def _choice(values: dict[str, Any]) -> Choice:
    tags = tuple(values["kola_tag"] or ())
    if bad := [tag for tag in tags if not tag.removeprefix("!") or " " in tag]:
        raise ConfigError(f"--tag '{bad[0]}': expected one word, or '!' and one word")
    return Choice(
        patterns=tuple(values["kola_test"] or ()),
        tags=tags,
        denied=tuple(values["kola_denylist_test"] or ()),
        shard=Shard.parse(values["kola_sharding"]) if values["kola_sharding"] else None,
        internet=not values["kola_no_net"],
    )


def _value(config: pytest.Config, option: Option) -> Any:
    import pytest  # noqa: PLC0415 - kola's commands have these options, too, and do without it

    if (given := config.getoption(option.ini)) is not None:
        return given
    try:
        return config.getini(option.ini) or None
    except pytest.UsageError as e:
        raise ConfigError(f"{config.inipath}: {option.ini}: {e}; expected true or false") from e
