"""What the user adds to the config of every machine of a run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kola import ignition
from kola.clonecache import Limits
from kola.clones import clone_key
from kola.configs import Additions
from kola.errors import ConfigError
from kola.images import Image
from kola.keys import generate_key
from kola.options import settings_of
from kola.platform import Prepared
from kola.provision import provision
from kola.run import RunInfo
from kola.spec import Capability, MachineSpec

ARGUMENTS = ("-p", "no:xdist", "-p", "no:cacheprovider")


def with_file(text: str) -> ignition.Config:
    return ignition.add_file(ignition.empty(), "/etc/kola-said", text, mode=0o644)


def said(config: ignition.Config) -> str:
    """What the file holds that all configs of these tests write."""
    files = {file["path"]: file["contents"]["source"] for file in config.tree["storage"]["files"]}
    return str(files["/etc/kola-said"]).partition(",")[2]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Configs that write the same file, and one more setting each."""
    found = {name: tmp_path / name for name in ("a.ign", "b.ign", "c.bu", "bad.ign", "bad.bu")}
    for name in ("a.ign", "b.ign"):
        config = ignition.add_unit(with_file(name[0]), f"{name[0]}.service", mask=True)
        found[name].write_bytes(ignition.serialise(config))
    found["c.bu"].write_text(
        "variant: fcos\nversion: 1.4.0\nstorage:\n  files:\n"
        "    - {path: /etc/kola-said, mode: 0644, contents: {inline: c}}\n"
        "    - {path: /etc/kola-more, contents: {local: more.txt}}\n"
    )
    (tmp_path / "more.txt").write_text("more")
    found["bad.ign"].write_text('{"ignition": {"version": "3.4.0"}, "sotrage": {}}')
    found["bad.bu"].write_text("variant: fcos\nversion: 1.4.0\nsotrage: {}\n")
    return found


def test_nothing_is_added() -> None:
    assert Additions().read() is None


def test_the_last_one_wins_and_ignition_comes_after_butane(files: dict[str, Path]) -> None:
    both = Additions(butane_files=(files["c.bu"],), ignition_files=(files["a.ign"], files["b.ign"])).read()
    assert both is not None
    assert said(both) == "b"
    assert {unit["name"] for unit in both.tree["systemd"]["units"]} == {"a.service", "b.service"}
    assert "/etc/kola-more" in {file["path"] for file in both.tree["storage"]["files"]}
    alone = Additions(butane_files=(files["c.bu"],)).read()
    assert alone is not None
    assert said(alone) == "c"


@pytest.mark.parametrize(
    ("additions", "expected"),
    [
        ({"ignition_files": ("bad.ign",)}, r"--append-ignition: .*bad\.ign: sotrage: "),
        ({"butane_files": ("bad.bu",)}, r"--append-butane: .*bad\.bu: line 3"),
        ({"butane_files": ("none.bu",)}, r"--append-butane .*none\.bu: No such file or directory"),
        ({"ignition_files": (".",)}, r"--append-ignition .*: Is a directory"),
        (
            {"debug_units": ("sshd",)},
            r"--debug-systemd-unit 'sshd': expected the whole name of a service: NAME\.service",
        ),
        ({"debug_units": ("a b.service",)}, r"--debug-systemd-unit 'a b\.service': "),
        ({"debug_units": (".service",)}, r"--debug-systemd-unit '\.service': "),
    ],
)
def test_what_is_wrong_is_named(additions: dict[str, Any], expected: str, files: dict[str, Path]) -> None:
    folder = files["a.ign"].parent
    given = {key: tuple(folder / v if key != "debug_units" else v for v in values) for key, values in additions.items()}
    with pytest.raises(ConfigError) as caught:
        Additions(**given).read()
    assert re.match(expected, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def test_debug_of_a_unit() -> None:
    config = Additions(debug_units=("NetworkManager.service", "systemd-udevd.service")).read()
    assert config is not None
    dropin = {"name": "10-debug.conf", "contents": "[Service]\nEnvironment=SYSTEMD_LOG_LEVEL=debug\n"}
    first, second = config.tree["systemd"]["units"]
    assert (first["name"], [{**one, "contents": one["contents"]} for one in first["dropins"]]) == (
        "NetworkManager.service",
        [dropin],
    )
    assert second["name"] == "systemd-udevd.service"


def test_they_win_over_the_tests_own_and_kolas() -> None:
    def provisioned(added: ignition.Config | None) -> ignition.Config:
        key = generate_key()
        return provision(with_file("test"), client_key=key.public, host_key=key, capabilities=(), additions=added)

    assert said(provisioned(None)) == "test"
    assert said(provisioned(with_file("user"))) == "user"
    assert any(user["name"] == "core" for user in provisioned(with_file("user")).tree["passwd"]["users"])


class Driver:
    """As much of a platform as a clone's key asks for."""

    capabilities = frozenset({Capability.SNAPSHOT})

    @staticmethod
    def fingerprint(*_: object) -> str:
        return "host"


@pytest.fixture
def info(tmp_path: Path) -> RunInfo:
    return RunInfo(
        run_id="0" * 8, owner="me", platform="qemu", options=None, arch="x86_64",
        image=Image(tmp_path / "x.qcow2", "qcow2", "0" * 64, "x.qcow2"), prepared=Prepared("x", "tcg"),
        output=tmp_path, scratch=tmp_path, cache=tmp_path, budget_mib=1, keep_machines="never", workers=1,
        clone_limits=Limits(),
    )  # fmt: skip


def test_a_clone_is_of_a_machine_with_the_same_additions(info: RunInfo) -> None:
    driver: Any = Driver()
    added = [None, with_file("a"), with_file("b"), with_file("a")]
    keys = [clone_key(replace(info, additions=one), driver, MachineSpec(), None, 0) for one in added]
    assert keys[1] == keys[3]
    assert len(set(keys)) == 3


def test_workers_get_them(tmp_path: Path) -> None:
    """Through the ini file too, and relative to where pytest was started."""
    (tmp_path / "a.ign").write_bytes(ignition.serialise(with_file("a")))
    settings = settings_of({"kola_append_ignition": ["a.ign"], "kola_debug_systemd_unit": ["x.service"]}, tmp_path)
    config = settings.additions.read()
    assert config is not None
    assert ignition.Config(**json.loads(json.dumps({"tree": config.tree, "source": config.source}))) == config


def test_a_bad_one_is_a_usage_error(pytester: pytest.Pytester, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(b"\0" * 1024)
    pytester.makepyfile("def test_it(machine): pass")
    pytester.makeini("[pytest]\nkola_append_butane =\n  none.bu\n")
    result = pytester.runpytest_subprocess(
        *ARGUMENTS, "--platform=qemu", f"--image={tmp_path / 'disk.raw'}", f"--kola-cache={tmp_path / 'cache'}"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --append-butane */none.bu: No such file or directory"])


def test_one_that_is_too_new_for_the_image_is_a_usage_error(pytester: pytest.Pytester, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(b"\0" * 1024)
    (tmp_path / "disk.raw.image.json").write_text('{"schema": 1, "ignition_max": "3.3.0"}')
    (tmp_path / "new.ign").write_text('{"ignition": {"version": "3.5.0"}}')
    pytester.makepyfile("def test_it(machine): pass")
    result = pytester.runpytest_subprocess(
        *ARGUMENTS, "--platform=qemu", f"--image={tmp_path / 'disk.raw'}", f"--kola-cache={tmp_path / 'cache'}",
        f"--append-ignition={tmp_path / 'new.ign'}",
    )  # fmt: skip
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    expected = "ERROR: the config (*new.ign) needs Ignition spec 3.5.0, the image understands up to 3.3.0"
    result.stderr.fnmatch_lines([expected])
