"""Permissions that were meant to be octal; pure."""

from __future__ import annotations

import re


def is_decimal_by_mistake(mode: int, *, directory: bool) -> bool:
    """Tell whether a mode makes no sense, but would if its decimal digits were octal (``644`` for ``0644``)."""
    digits = str(mode)
    if not re.fullmatch(r"[0-7]{1,4}", digits):
        return False
    return not _is_usual(mode, directory=directory) and _is_usual(int(digits, 8), directory=directory)


def _is_usual(mode: int, *, directory: bool) -> bool:
    """Tell whether somebody may want that: nobody has a right that who is closer to the file does not have."""
    if mode == 0:
        return True
    owner, group, others = mode >> 6 & 7, mode >> 3 & 7, mode & 7
    for closer, farther in ((owner, group), (group, others), (owner, others)):
        # Who may write or execute may read; who may execute does so like those who read.
        if farther & ~closer or (farther and closer & 1 and not farther & 1):
            return False
    if not owner & 4 or any(rights and not rights & 4 for rights in (owner, group, others)):
        return False
    executable, writable, everybody = owner & 1, owner & 2, others & 2
    setuid, setgid, sticky = mode & 0o4000, mode & 0o2000, mode & 0o1000
    if directory:
        return bool(executable and not setuid and (writable or not (setgid or sticky)))
    return bool(not sticky and (not (setuid or setgid) or (executable and not everybody)))
