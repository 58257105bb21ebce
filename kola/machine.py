"""A machine under test: what a test does with it, over SSH and over what its platform knows of it."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kola import files, units
from kola.command import CommandResult, FailedCommand, Line
from kola.errors import CheckFailed, ConfigError, MachineLost
from kola.link import LAST_LINES, Access, Limits, Link, ignore_progress
from kola.logs import Logs
from kola.ssh import ConnectionLost
from kola.wait import Deadline, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kola.journal import JournalEntry
    from kola.platform import Instance
    from kola.spec import MachineSpec

__all__ = ["Access", "Limits", "Machine"]


class Machine:
    """One machine. Safe for several threads; ``close`` disconnects and leaves the machine itself alone.

    Args:
        instance: what its platform made.
        access: how to log in.
        spec: what it was made from.
        slowness: factor on the default time limits; one that a caller gives is taken as it is.
        artifacts: the folder with its console and journal, named in errors.
        progress: called with what is being waited for and the seconds since, several times a second.
    """

    def __init__(
        self,
        instance: Instance,
        access: Access,
        *,
        spec: MachineSpec | None = None,
        slowness: float = 1.0,
        artifacts: Path,
        progress: Callable[[str, float], None] = ignore_progress,
    ) -> None:
        self.instance = instance
        self.name = instance.name
        self.spec = spec
        self.slowness = slowness
        self.artifacts = artifacts
        self.limits = Limits().scaled(slowness)
        self.access = access
        self._link = Link(instance, access, limits=self.limits, artifacts=artifacts, progress=progress)
        self.logs = Logs(self._link)

    # -- connection --------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is an SSH connection that is not known to be broken."""
        return self._link.alive

    @property
    def boot_id(self) -> str:
        """``/proc/sys/kernel/random/boot_id`` of the boot that the connection belongs to."""
        if not self._link.boot_id:
            self.connect()
        return self._link.boot_id

    def connect(self, deadline: Deadline | float | None = None) -> None:
        """Wait until SSH answers.

        Args:
            deadline: or seconds; default: two minutes, scaled.

        Raises:
            MachineLost: at once if the platform knows that the machine died; ``timeout`` at the deadline.
            HostKeyMismatch: another machine answers at its address.
        """
        self._link.connect(_deadline(deadline, self.limits.boot))

    def close(self) -> None:
        """Disconnect. Idempotent."""
        self._link.close()

    def ssh_command(self) -> str:
        """Return the command by which a person logs in, ready to be pasted."""
        return self.access.command(self.instance.address, self.instance.port)

    # -- commands and files ------------------------------------------------------------------------------------------

    def run(
        self,
        cmd: str | Sequence[str],
        *,
        check: bool = True,
        input: str | bytes | IO[bytes] = b"",  # noqa: A002 - as in subprocess.run
        output: IO[bytes] | None = None,
        timeout: float | None = None,
        user: str | None = None,
        sudo: bool = False,
        env: Mapping[str, str] | None = None,
        shown: str = "",
    ) -> CommandResult:
        """Run a command and wait for it.

        Args:
            cmd: a line of shell script for ``bash -c``, or a program and its arguments.
            check: raise if the exit code is not 0.
            input: its standard input.
            output: takes standard output as it comes, byte for byte; the result's ``stdout`` is empty then.
            timeout: seconds; default: 60, scaled. It and its children are killed then.
            user: who runs it; default: who logs in.
            sudo: short for ``user="root"``.
            env: added to its environment.
            shown: the command in results and errors, where the real one says little.

        Raises:
            FailedCommand: (a ``CommandFailed``) exit code other than 0; shows both streams.
            TimedOutCommand: (a ``CommandTimeout``) shows what there was so far, console, journal and queued jobs.
            MachineLost: the machine died or the connection broke.
        """
        result = self._link.execute(
            self._line(cmd, _user(user, sudo=sudo), env),
            shown=shown or (cmd if isinstance(cmd, str) else shlex.join(cmd)),
            input=input.encode() if isinstance(input, str) else input,
            output=output,
            timeout=self.limits.command if timeout is None else timeout,
        )
        if check and result.exit_code != 0:
            raise FailedCommand(self.name, result)
        return result

    def run_many(
        self,
        commands: Sequence[str | Sequence[str]],
        *,
        check: bool = True,
        timeout: float | None = None,
        user: str | None = None,
        sudo: bool = False,
    ) -> list[CommandResult]:
        """Run commands one after the other in one round trip; each is as separate from the others as with ``run``.

        Args:
            commands: each as for ``run``.
            check: stop at the first whose exit code is not 0 and raise; False: run all of them, whatever they give.
            timeout: seconds for each; default: 60, scaled. Those behind one that takes longer do not run.
            user: who runs them; default: who logs in.
            sudo: short for ``user="root"``.

        Returns:
            The result of each, in order.

        Raises:
            FailedCommand: (a ``CommandFailed``) exit code other than 0; those behind it did not run.
            TimedOutCommand: (a ``CommandTimeout``) as for ``run``.
            MachineLost: the machine died or the connection broke.
        """
        shown = [cmd if isinstance(cmd, str) else shlex.join(cmd) for cmd in commands]
        results = self._link.execute_many(
            [self._line(cmd, _user(user, sudo=sudo)) for cmd in commands],
            shown=shown,
            stop=check,
            timeout=self.limits.command if timeout is None else timeout,
        )
        for result in results if check else ():
            if result.exit_code != 0:
                raise FailedCommand(self.name, result)
        return results

    def _line(self, cmd: str | Sequence[str], user: str | None, env: Mapping[str, str] | None = None) -> Line:
        return Line.of(cmd, login=self.access.user, user=user, env=env)

    def put(
        self,
        local: Path | str,
        remote: str,
        *,
        mode: int | None = None,
        owner: str | None = None,
        sudo: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Copy a file onto the machine; its folder must exist there. A file that is there is overwritten in place.

        Args:
            local: on this host.
            remote: absolute, or relative to the home folder.
            mode: permission bits; default: an existing file's, or what the umask makes of 0666.
            owner: ``USER`` or ``USER:GROUP``.
            sudo: as root.
            timeout: seconds; default: 600, scaled.

        Raises:
            OSError: ``local`` cannot be read.
            FailedCommand: it could not be written there.
        """
        with Path(local).open("rb") as file:
            shown = f"put {local} {remote}"
            files.write(self, file, remote, mode, owner, sudo=sudo, timeout=timeout, shown=shown)

    def write_file(
        self,
        path: str,
        content: str | bytes,
        *,
        mode: int | None = None,
        owner: str | None = None,
        sudo: bool = False,
    ) -> None:
        """Write a file on the machine; as ``put``."""
        data = io.BytesIO(content.encode() if isinstance(content, str) else content)
        files.write(self, data, path, mode, owner, sudo=sudo, timeout=None, shown=f"write {path}")

    def get(self, remote: str, local: Path | str, *, sudo: bool = False, timeout: float | None = None) -> Path:
        """Copy a file from the machine to ``local``, which appears only when it is complete, and return that.

        Raises:
            FailedCommand: it could not be read.
        """
        target = Path(local)
        files.fetch(self, remote, target, sudo=sudo, timeout=timeout)
        return target

    def read_bytes(self, path: str, *, sudo: bool = False) -> bytes:
        """Return what is in a file on the machine.

        Raises:
            FailedCommand: it could not be read.
        """
        content = io.BytesIO()
        files.read(self, path, content, sudo=sudo)
        return content.getvalue()

    def read_file(self, path: str, *, sudo: bool = False) -> str:
        """Return the text (UTF-8) of a file on the machine; as ``read_bytes``."""
        return self.read_bytes(path, sudo=sudo).decode(errors="replace")

    # -- networks ----------------------------------------------------------------------------------------------------

    def interface(self, network: str) -> str:
        """Return the name of the interface on a network of the test, which ``nics=`` of its marker names.

        Raises:
            ConfigError: the marker names no such network.
            CheckFailed: the machine has no interface with that MAC address.
        """
        nics = self.spec.nics if self.spec else ()
        macs = [mac for mac, nic in zip(self.instance.macs, nics, strict=True) if nic.network == network]
        if not network or not macs:
            known = ", ".join(sorted({nic.network for nic in nics} - {""})) or "none"
            raise ConfigError(f"machine {self.name} is on no network '{network}'; known: {known}")
        for link in json.loads(self.run("ip -json link show").stdout):
            if link.get("address", "").lower() == macs[0].lower():
                return str(link["ifname"])
        raise CheckFailed(f"machine {self.name} has no interface with the address {macs[0]} of network '{network}'")

    # -- boots -------------------------------------------------------------------------------------------------------

    def reboot(self, timeout: float | None = None) -> None:
        """Reboot and wait until SSH answers in the new boot, told by another boot_id.

        Args:
            timeout: seconds; default: that of two boots, because it has to shut down too.

        Raises:
            MachineLost: it panicked, went into an emergency shell, or did not come back.
        """
        self.reboot_by(["systemctl", "reboot"], timeout)

    def reboot_by(self, cmd: str | Sequence[str], timeout: float | None = None) -> None:
        """Run what makes the machine reboot, as root, and wait as ``reboot`` does."""
        before, limit = self.boot_id, Deadline(self._reboot_limit(timeout))
        self._run_last(cmd, limit)
        self.await_boot(before, limit)

    def soft_reboot_by(self, cmd: str | Sequence[str], timeout: float | None = None) -> None:
        """Run what makes user space restart (``systemctl soft-reboot``, of systemd 254 and later), and wait for it.

        Args:
            cmd: run as root.
            timeout: seconds; default: as ``reboot``.

        Raises:
            MachineLost: it did not come back.
        """
        limit = Deadline(self._reboot_limit(timeout))
        before = self._soft_reboots()

        def back() -> bool:
            try:
                self._link.connect(Deadline(min(self.limits.boot, limit.remaining)), what="SSH after the soft reboot")
                return self._soft_reboots() > before
            except MachineLost:
                self._link.raise_if_lost()
                return False

        self._run_last(cmd, limit)
        wait_until(back, limit, what="the soft reboot", interval=1)

    def _soft_reboots(self) -> int:
        shown = self.run(["systemctl", "show", "--property=SoftRebootsCount", "--value"]).stdout.strip()
        return int(shown or 0)

    def _run_last(self, cmd: str | Sequence[str], limit: Deadline) -> None:
        """Run what may end the connection before it has answered."""
        try:
            result = self._link.usable().run(
                self._line(cmd, "root"), timeout=limit.remaining, watch=self._link.raise_if_lost
            )
        except ConnectionLost:
            pass  # it was quicker than its answer
        else:
            if result.exit_code > 0:
                raise FailedCommand(self.name, result)

    def reset(self, timeout: float | None = None) -> None:
        """Cut the power, switch it on again, and wait as ``reboot`` does (needs ``Capability.HARD_RESET``)."""
        before, limit = self.boot_id, Deadline(self._reboot_limit(timeout))
        self.instance.reset()
        self.await_boot(before, limit)

    def await_boot(self, before: str, deadline: Deadline | float | None = None) -> None:
        """Wait until SSH answers in another boot than ``before`` (a boot_id); for who starts the reboot himself."""
        self._link.connect(_deadline(deadline, self._reboot_limit(None)), what="SSH after the reboot", unlike=before)

    def _reboot_limit(self, timeout: float | None) -> float:
        return 2 * self.limits.boot if timeout is None else timeout

    # -- logs --------------------------------------------------------------------------------------------------------

    def console(self, since: int = 0) -> str:
        """Return the serial console's output from that character on."""
        return self.logs.console(since)

    def journal(self, unit: str | None = None, since: str | None = None) -> list[JournalEntry]:
        """Return journal entries, oldest first; everything that was logged before the call is there.

        Args:
            unit: only those that ``journalctl -u UNIT`` would show.
            since: only those after this ``cursor()``.
        """
        return self.logs.journal(unit, since)

    def journal_on_host(self, unit: str | None = None, since: str | None = None) -> list[JournalEntry]:
        """Like ``journal``, of what has reached this host; for a machine that is gone."""
        return self.logs.journal_on_host(unit, since)

    def cursor(self) -> str | None:
        """Return the cursor of the newest journal entry, for ``journal(since=...)``."""
        return self.logs.cursor()

    def audit_size(self) -> int:
        """Return the size of the audit log in bytes, for ``audit_log(since=...)``; 0 if there is none."""
        return self.logs.audit_size()

    def audit_log(self, since: int = 0) -> list[str]:
        """Return the lines of the audit log from that byte on, also if it has been rotated; none if there is no log."""
        return self.logs.audit_log(since)

    def describe(self, lines: int = LAST_LINES) -> str:
        """Return the end of console and journal for a failure message; works for a machine that is gone."""
        return self.logs.describe(lines)

    # -- units -------------------------------------------------------------------------------------------------------

    def failed_units(self) -> list[str]:
        """Return the names of the units that have failed."""
        return sorted(units.names(self.run(units.FAILED)))

    def wait_for_unit(self, name: str, state: str = "active", timeout: float | None = None) -> None:
        """Wait until a unit is in a state.

        Args:
            name: with or without ``.service``.
            state: an ActiveState: ``active``, ``inactive``, ``failed``...
            timeout: seconds; default: 60, scaled.

        Raises:
            CheckFailed: at once if it has failed or does not exist; shows its status and journal.
            WaitTimeout: it is in no such state in time; shows the same.
        """
        units.wait_for(self, name, state, self.limits.unit if timeout is None else timeout)


def _user(user: str | None, *, sudo: bool) -> str | None:
    if sudo and user not in {None, "root"}:
        raise ConfigError(f"sudo=True means user='root', not user={user!r}")
    return "root" if sudo else user


def _deadline(given: Deadline | float | None, default: float) -> Deadline:
    return given if isinstance(given, Deadline) else Deadline(default if given is None else given)
