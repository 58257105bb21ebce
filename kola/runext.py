"""Runs a test in kola's external format on a machine: as root, in a systemd unit, over the reboots that it asks for.

Source: docs/kola/external-tests.md of coreos-assembler. What the machine does of it is in ``kola/guest/kolet``.
"""

from __future__ import annotations

import shlex
import tarfile
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from kola import journal
from kola.errors import CommandTimeout, ExternalTestFailed
from kola.external.program import ENVIRONMENT
from kola.text import block
from kola.wait import Deadline

if TYPE_CHECKING:
    from kola.external.program import Program
    from kola.journal import JournalEntry
    from kola.machine import Machine

KOLET = "/usr/local/bin/kolet"
_OLD_KOLET = "/var/home/core/kolet"
"""Where it was in earlier times, and where tests and the reference look for it."""
_ACKNOWLEDGED = "/run/kolet-reboot-ack"
_UNITS = "/etc/systemd/system"
_SSHD = ("sshd.service", "sshd.socket", "ssh.service", "ssh.socket")
_LAST_LINES = 40

_EXITED, _KILLED, _SIGTERM = 1, 2, 15
"""``ExecMainCode``: CLD_EXITED and CLD_KILLED of siginfo; and the one signal that is not a failure."""


def run(machine: Machine, program: Program, seconds: float) -> None:
    """Run a test to its end.

    Args:
        machine: that it may use; of its own unless it has a number.
        program: the test.
        seconds: how long it may take, reboots included.

    Raises:
        ExternalTestFailed: exit code other than 0, a signal other than SIGTERM, not done in time; with the end of its
            journal.
        MachineLost: the machine died.
    """
    limit = Deadline(seconds)
    since = machine.cursor()
    _prepare(machine, program)
    while True:
        why = _one_boot(machine, program, limit)
        if why is not None:
            break
    entries = machine.journal(program.unit, since)
    _keep_log(machine, program, entries)
    if why:
        raise ExternalTestFailed(f"{program.name} {why}\n{_block(program, entries)}")


def output(machine: Machine, program: Program) -> str:
    """Return what a test that has run wrote to its journal."""
    path = _log(machine, program)
    return path.read_text() if path.exists() else ""


def _prepare(machine: Machine, program: Program) -> None:
    """Put the helper, the test, its data and its unit onto the machine."""
    kolet = resources.files("kola.guest").joinpath("kolet").read_bytes()
    # An earlier run of the same test may have left its unit as it ended.
    machine.run(
        f"systemctl stop {program.unit} 2>/dev/null; systemctl reset-failed {program.unit} 2>/dev/null; "
        f"rm -rf {program.data_folder}; mkdir -p {program.data_folder} {Path(KOLET).parent}",
        sudo=True,
    )
    # Written under another name: path units of a test may wait for the helper to be there.
    machine.write_file(f"{KOLET}.partial", kolet, mode=0o755, sudo=True)
    machine.put(program.executable, program.path, mode=0o755, sudo=True)
    machine.write_file(f"{_UNITS}/{program.unit}", program.unit_file(), mode=0o644, sudo=True)
    if program.data is not None:
        _copy_folder(machine, program.data, program.data_folder)
    if program.container is not None:
        machine.put(program.container, program.container_path, mode=0o644, owner="core", sudo=True)
    paths = shlex.join([program.path, f"{_UNITS}/{program.unit}", f"{KOLET}.partial"])
    machine.run(
        f"rm -f {ENVIRONMENT}; ! command -v restorecon >/dev/null || restorecon {paths}\n"
        f"mv -f {KOLET}.partial {KOLET}; ln -sf {KOLET} {_OLD_KOLET}\n"
        f"systemctl daemon-reload",
        sudo=True,
    )


def _copy_folder(machine: Machine, local: Path, remote: str) -> None:
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path in sorted(local.resolve().iterdir()):
                tar.add(path, arcname=path.name)
        archive.seek(0)
        arguments = ["tar", "--extract", "--no-same-owner", f"--directory={remote}"]
        machine.run(arguments, input=archive, sudo=True, timeout=machine.limits.transfer, shown=f"copy {local}")


def _one_boot(machine: Machine, program: Program, limit: Deadline) -> str | None:
    """Run it until it ends or the machine is up again after a reboot; None: go on. Else why it failed, or nothing."""
    deny = [] if program.number is None else ["--deny-reboots"]
    try:
        done = machine.run([KOLET, "run-test-unit", *deny, program.unit], sudo=True, timeout=max(limit.remaining, 0.1))
    except CommandTimeout:  # the command is kola's own, its end of no interest
        machine.run(["systemctl", "stop", "--no-block", program.unit], sudo=True, check=False)
        jobs = machine.run(["systemctl", "list-jobs", "--no-pager"], check=False).stdout.strip()
        return f"did not end within {limit.seconds:.0f} s; jobs of systemd: {jobs}"
    kind, _, rest = done.stdout.partition("\n")
    if kind == "ended":
        return _verdict(rest)
    if kind == "not-started":
        return f"could not be started: {done.stderr.strip()}"
    _reboot(machine, kind, limit)
    # What its unit reads when it starts again; /run is new after a reboot.
    machine.write_file(ENVIRONMENT, f"AUTOPKGTEST_REBOOT_MARK={_shell_quoted(rest)}\n", sudo=True)
    return None


def _reboot(machine: Machine, kind: str, limit: Deadline) -> None:
    """Tell the test that its mark is safe, and wait until the machine is up again."""
    # sshd is stopped so that nobody logs in while the machine goes down.
    stop = f"systemctl stop {' '.join(_SSHD)} 2>/dev/null; " if kind == "reboot" else ""
    go = f"{stop}echo >{_ACKNOWLEDGED}"
    if kind == "reboot":
        machine.reboot_by(go, limit.remaining)
    else:
        machine.soft_reboot_by(go, limit.remaining)


def _shell_quoted(mark: str) -> str:
    """Return a mark as an environment file takes it (systemd.exec(5))."""
    return '"' + "".join(f"\\{c}" if c in '"\\$`' else c for c in mark) + '"'


def _verdict(state: str) -> str:
    """Return why a unit's end is a failure; empty if it is none."""
    active, _sub, result, code, status = (*state.split(), "", "", "", "", "")[:5]
    known = {"exited": _EXITED, "killed": _KILLED, "dumped": 3}
    number = known.get(code, int(code) if code.isdecimal() else 0)
    if number == _EXITED:
        return "" if status == "0" else f"failed with exit code {status}"
    if number == _KILLED and status in {str(_SIGTERM), "TERM", "SIGTERM"}:
        return ""
    if number:
        return f"was killed by signal {status}"
    return f"did not run: its unit is {active} ({result})"


def _log(machine: Machine, program: Program) -> Path:
    return machine.artifacts / f"{program.name.replace('/', '_')}.txt"


def _keep_log(machine: Machine, program: Program, entries: list[JournalEntry]) -> None:
    _log(machine, program).write_text(journal.render(entries) + "\n")


def _block(program: Program, entries: list[JournalEntry]) -> str:
    return block(f"last lines of {program.unit}", journal.render(entries[-_LAST_LINES:]))
