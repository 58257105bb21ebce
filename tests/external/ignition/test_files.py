"""Files, directories and links of the config, on the root and on the disk that it partitions."""

from __future__ import annotations

import pytest

from kola.machine import Machine
from tests.external.ignition.config import BINARY, CONFIG, HOSTNAME, LARGE, STATE

pytestmark = pytest.mark.kola(
    isolation="shared",
    ignition=CONFIG,
    disks=[{"size_gib": 2, "serial": "data"}],
    tags=["ignition"],
    covers="provisioning",
)

CONTENTS = {
    "/etc/kola/text": "two lines\nand an umlaut \u00fc\n".encode(),
    "/etc/kola/binary": BINARY,
    "/etc/kola/percent": b"a b,c\n",
    "/etc/kola/empty": b"",
    "/etc/kola/large": LARGE,
    "/etc/kola/verified": b"verified\n",
    "/etc/kola/appended": b"one\ntwo\nthree\n",
    "/etc/shells": b"/bin/sh\n/bin/bash\n",
    f"{STATE}/file": b"in /var\n",
    "/var/home/core/kola": b"at home\n",
    "/var/kola_ext4/file": b"on ext4\n",
    "/var/kola_xfs/folder/file": b"on xfs\n",
}
# type, mode, user, group
NODES = {
    "/etc/kola": "directory 755 root root",
    "/etc/kola/text": "regular file 640 kola-user root",
    "/etc/kola/binary": "regular file 400 root kola-group",
    "/etc/kola/empty": "regular empty file 644 root root",
    "/etc/kola/owned": "symbolic link 777 kola-user root",
    "/etc/shells": "regular file 604 root root",
    STATE: "directory 750 kola-user kola-system",
    f"{STATE}/file": "regular file 600 kola-user root",
    f"{STATE}/deep": "directory 755 root root",
    f"{STATE}/deep/er": "directory 700 kola-user kola-group",
    "/var/home/core/kola": "regular file 644 core root",
    "/var/kola_ext4/file": "regular file 640 kola-user root",
    "/var/kola_xfs/folder": "directory 711 root root",
    "/opt/kola": "directory 755 root root",
    "/opt/kola/program": "regular file 755 root root",
    "/usr/local/bin/kola-program": "regular file 755 root root",
    "/usr/local/etc/kola": "directory 755 root root",
    "/usr/local/etc/kola/settings": "regular file 644 root root",
}


@pytest.mark.smoke
def test_contents(machine: Machine) -> None:
    """Files have every byte of the config: text, binary, gzip, verified, appended to, replaced, on other disks."""
    found = {path: machine.read_bytes(path, sudo=True) for path in CONTENTS}
    wrong = {path: (data[:80], CONTENTS[path][:80]) for path, data in found.items() if data != CONTENTS[path]}
    assert not wrong, f"path: (found, expected), both cut off: {wrong}"


def test_modes_and_owners(machine: Machine) -> None:
    """Each node has its type, mode, user and group; parents that Ignition had to make are root's, mode 755."""
    lines = machine.run(["stat", "--format", "%n:%F %a %U %G", *NODES], sudo=True).stdout.splitlines()
    found = dict(line.split(":", 1) for line in lines)
    wrong = {path: (found.get(path), expected) for path, expected in NODES.items() if found.get(path) != expected}
    assert not wrong, f"path: (found, expected): {wrong}"


def test_programs(machine: Machine) -> None:
    """An ordinary user can run programs that the config puts into /opt and /usr/local, and finds those on the PATH."""
    for program in ("/opt/kola/program", "/usr/local/bin/kola-program", "kola-program"):
        done = machine.run([program], check=False)
        assert (done.exit_code, done.stdout) == (0, "for everybody\n"), f"{program}: {done.stderr}"


def test_file_of_the_image_is_appended_to(machine: Machine) -> None:
    """A file of the image that the config appends to keeps what it had, and ends in what was appended."""
    now = machine.read_file("/etc/login.defs")
    assert now.endswith("\n# kola\n"), f"nothing was appended: ...{now[-80:]!r}"
    assert "UID_MIN" in now, "what the image had in /etc/login.defs is gone"


def test_links(machine: Machine) -> None:
    """A symbolic link has its target to the letter, also a dangling one; a hard link is the same file."""
    targets = machine.run("readlink /etc/kola/symbolic /etc/kola/owned").stdout.split()
    assert targets == ["text", "/nonexistent"], f"targets: {targets}"
    nodes = machine.run("stat --format='%d:%i %h' /etc/kola/text /etc/kola/hard").stdout.splitlines()
    assert nodes[0] == nodes[1], f"not one file: {nodes}"
    assert nodes[0].endswith(" 2"), f"links are counted wrong: {nodes[0]}"


def test_hostname_and_time_zone(machine: Machine) -> None:
    """The running system has the name of /etc/hostname, and the time zone that /etc/localtime links to."""
    name = machine.run("uname -n").stdout.strip()
    assert name == HOSTNAME, f"the host is called {name}"
    zone = machine.run("date --date=@1750000000 +%Z%z").stdout.strip()
    assert zone == "CEST+0200", f"a summer's day in Berlin is in zone {zone}"
    zone = machine.run("timedatectl show --property=Timezone --value").stdout.strip()
    assert zone == "Europe/Berlin", f"systemd takes the time zone for {zone}"


@pytest.mark.kola(needs=["selinux"], covers="selinux-label")
def test_labels(machine: Machine) -> None:
    """Everything that Ignition wrote has the label that the policy wants, on other file systems too."""
    paths = ["/etc/kola", "/etc/hostname", "/etc/localtime", "/etc/login.defs", "/etc/shells", "/etc/systemd/system"]
    paths += ["/etc/passwd", "/etc/shadow", "/etc/group", STATE, "/var/home/core", "/var/home/elsewhere", "/root/.ssh/"]
    paths += ["/var/kola_ext4", "/var/kola_xfs"]
    wrong = machine.run(["restorecon", "-nvr", *paths], sudo=True).stdout
    assert not wrong, f"wrong labels:\n{wrong}"
