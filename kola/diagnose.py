"""From a machine's last words to the reason why it is of no more use. Pure.

The words are those of firmware (SeaBIOS, OVMF), GRUB, the Linux kernel, dracut, systemd, Ignition and QEMU.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kola.errors import Loss
from kola.text import strip_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_LINES = 30
_LOOK_BACK = 60  # lines of a register dump and a stack between a BUG and the panic that it ends in
_ERROR = 3  # syslog's priority; smaller is worse

# The kernel's time and, in some configurations, the caller; a login prompt may stand before them on the line.
_STAMP = r"(?:^|\[ *\d+\.\d+\](?:\[[^\]]*\])? )"
_PANIC = re.compile(_STAMP + r"Kernel panic - not syncing: ?(?P<why>.*)$")
_PANIC_END = re.compile(r"---\[ end Kernel panic")
_PANIC_CAUSE = re.compile(
    _STAMP + r"(?:sysrq: |BUG: |Oops: |kernel BUG at |Internal error: |VFS: |EXT4-fs error|XFS \()"
)
_IGNITION = re.compile(r"(?:ignition\[\d+\]: |^)(?:EMERGENCY|ALERT|CRITICAL) *: (?P<why>.*)$")  # Ignition's log levels
_IGNITION_END = re.compile(r"Ignition failed: (?P<why>.*)$")
_IGNITION_UNIT = re.compile(r"Failed to start ignition-")  # systemd shortens what follows
_EMERGENCY = re.compile(
    r"You are in emergency mode"  # systemd's emergency.service
    r"|Entering emergency mode"  # dracut
    r"|Press Enter for (?:emergency shell|maintenance)"  # Fedora CoreOS; sulogin
    r"|Reached target (?:emergency\.target|Emergency Mode)"  # systemd 249 and later, before
    r"|Give root password for maintenance"  # sulogin
    r"|Cannot open access to console, the root account is locked"  # sulogin
)
_FAILED_UNIT = re.compile(r"\[ *(?:FAILED|DEPEND|TIME) *\] |: Timed out waiting for device|dracut-initqueue: timeout")
_STATUS = re.compile(r"^.*?\[ *(?:FAILED|DEPEND|TIME) *\] ")
_NO_BOOT = re.compile(
    r"No bootable device\."  # SeaBIOS
    r"|^(?:grub rescue|grub)> *$|^Entering rescue mode\.\.\."  # GRUB without its modules; without a config
    r"|BdsDxe: No bootable option or device was found|UEFI Interactive Shell v"  # OVMF
)
_FIRMWARE = re.compile(r"^(?:Boot failed: |error: |BdsDxe: failed )")
_SIGNS = (_PANIC, _IGNITION, _IGNITION_END, _EMERGENCY, _NO_BOOT)


def worth_a_look(console: str) -> bool:
    """Tell whether a piece of console output, whole lines or an unfinished last one, holds a sign of death."""
    return any(sign.search(line) for line in _lines(console) for sign in _SIGNS)


def diagnose(console: str, ignition_journal: str = "") -> Loss | None:
    """Find out why a machine is of no more use, from what it said since its power was switched on.

    The first sign of death counts: what a machine says after a panic, when it has booted again, changes nothing. An
    emergency shell that Ignition is to blame for is reported as Ignition's failure.

    Args:
        console: the serial console so far.
        ignition_journal: what Fedora CoreOS writes to the port ``com.coreos.ignition.journal`` when Ignition failed:
            the journal of the initramfs, one JSON object a line (``journalctl -o json``).

    Returns:
        The loss, of kind ``ignition``, ``panic``, ``emergency`` or ``no-boot``; None for a machine in good health.
    """
    lines = _lines(console)
    errors = _journal_errors(ignition_journal)
    for number, line in enumerate(lines):
        if panic := _PANIC.search(line):
            return Loss("panic", _summary("kernel panic", panic["why"]), _around_panic(lines, number))
        if _IGNITION.search(line) or _IGNITION_END.search(line):
            return _ignition_loss(lines, errors)
        if _EMERGENCY.search(line):
            return _ignition_loss(lines, errors) or _emergency_loss(lines[: number + 1], errors)
        if _NO_BOOT.search(line):
            said = [before for before in lines[: number + 1] if _FIRMWARE.search(before)]
            why = said[-1].removeprefix("error: ") if said else line
            return Loss("no-boot", _summary("no bootable system", why.strip()), _last([*said, line]))
    return _ignition_loss([], errors) or (_emergency_loss([], errors) if ignition_journal.strip() else None)


def exit_loss(qemu_log: str, *, powered_off: bool) -> Loss:
    """Describe the end of a machine's QEMU: what the guest did not do in an orderly way was QEMU's, or somebody's.

    Args:
        qemu_log: libvirt's log of the domain: a shell command line over many lines, then what QEMU said.
        powered_off: the guest did it itself, in an orderly way.
    """
    if powered_off:
        return Loss("exit", "the machine was powered off from inside")
    lines = qemu_log.splitlines()
    command_end = max((number for number, line in enumerate(lines) if line.endswith(" \\")), default=-2) + 2
    said = [line for line in lines[command_end:] if line.strip() and " is tainted: " not in line]
    own = [line for line in said if "qemu-system" in line or "qemu-kvm" in line]
    summary = _summary("QEMU ended unexpectedly", re.sub(r"^\S+Z ", "", own[-1]) if own else "")
    return Loss("provider", summary, _last(said))


def _ignition_loss(lines: Sequence[str], errors: Sequence[tuple[bool, str]]) -> Loss | None:
    told = [message for by_ignition, message in errors if by_ignition]
    told = told or [line for line in lines if _IGNITION.search(line) or _IGNITION_END.search(line)]
    told = told or [line for line in lines if _IGNITION_UNIT.search(line)]
    if not told:
        return None
    for rule in (_IGNITION_END, _IGNITION):
        why = [found["why"] for line in told if (found := rule.search(line))]
        if why:
            return Loss("ignition", _summary("Ignition failed", why[-1]), _last(told))
    return Loss("ignition", _summary("Ignition failed", told[-1]), _last(told))


def _emergency_loss(lines: Sequence[str], errors: Sequence[tuple[bool, str]]) -> Loss:
    failed = [line for line in lines if _FAILED_UNIT.search(line)]
    detail = failed or [message for _, message in errors] or [line for line in lines if line.strip()][-5:]
    why = _STATUS.sub("", failed[0]) if failed else ""
    return Loss("emergency", _summary("emergency mode", why), _last(detail))


def _around_panic(lines: Sequence[str], number: int) -> tuple[str, ...]:
    cause = [line for line in lines[max(0, number - _LOOK_BACK) : number] if _PANIC_CAUSE.search(line)]
    detail = [*cause[:5], lines[number]]
    for line in lines[number + 1 :]:
        if len(detail) == _MOST_LINES:
            break
        detail.append(line)
        if _PANIC_END.search(line):
            break
    return tuple(line.rstrip() for line in detail if line.strip())


def _journal_errors(journal: str) -> list[tuple[bool, str]]:
    """Return the messages that tell of an error, each with whether Ignition said it."""
    found = []
    for line in journal.splitlines():
        try:
            entry: Any = json.loads(line)
        except ValueError:  # the last line may be half written; a machine that dies may write anything
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("MESSAGE"), str):
            continue
        message = strip_terminal(entry["MESSAGE"])
        grave = _IGNITION.search(message) or _IGNITION_END.search(message)
        by_ignition = entry.get("SYSLOG_IDENTIFIER") == "ignition"
        priority = str(entry.get("PRIORITY", ""))
        # Where Ignition's output reaches the journal by a pipe, all of it is "info" there: its level is in the text.
        if (priority.isdigit() and int(priority) <= _ERROR) or (by_ignition and grave):
            found.append((by_ignition, message))
    return found


def ignition_has_spoken(loss: Loss) -> bool:
    """Tell whether nothing more is to be expected: Ignition's last word, which comes after all others, is there."""
    return loss.kind == "ignition" and bool(_IGNITION_END.search(loss.detail[-1]))


def _lines(console: str) -> list[str]:
    return strip_terminal(console.replace("\r\n", "\n").replace("\r", "\n")).split("\n")


def _last(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line.rstrip() for line in lines[-_MOST_LINES:])


def _summary(what: str, why: str) -> str:
    return f"{what}: {why.strip()}" if why.strip() else what
