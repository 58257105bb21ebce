"""What kola adds to a config."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from kola import ignition
from kola.keys import KeyPair
from kola.provision import mount_unit_name, provision
from kola.spec import Bind

PATHS = ["/var/mnt/data", "/srv", "/var/with-hyphen", "/.hidden/.dir", "/var/\u00fc@1", "/a//b/"]


@pytest.mark.skipif(shutil.which("systemd-escape") is None, reason="no systemd on this host")
@pytest.mark.parametrize("path", PATHS)
def test_mount_units_have_the_names_that_systemd_expects(path: str) -> None:
    command = ["systemd-escape", "--path", "--suffix=mount", path]
    assert mount_unit_name(path) == subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_binds_are_mounted_by_their_tags() -> None:
    binds = (Bind("/srv/100%", "/var/a-b"), Bind("/srv", "/var/c", read_only=False))
    config = provision(
        None, client_key="ssh-ed25519 AAAA", host_key=KeyPair("", "ssh-ed25519 AAAA"), capabilities=(), binds=binds
    )
    units = {unit["name"]: unit for unit in json.loads(ignition.serialise(config))["systemd"]["units"]}
    assert units.keys() == {r"var-a\x2db.mount", "var-c.mount"}
    first, second = units[r"var-a\x2db.mount"]["contents"], units["var-c.mount"]["contents"]
    assert "What=kola-bind-0\nWhere=/var/a-b\nType=virtiofs\nOptions=ro\n" in first
    assert "/srv/100%%\n" in first
    assert "What=kola-bind-1\nWhere=/var/c\nType=virtiofs\nOptions=rw\n" in second
