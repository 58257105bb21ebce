"""Counts what the machines of a run cost: a line in a file of the run when one begins and when one ends."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kola.cloud.sizes import InstanceType

FILE = "instances.jsonl"
_HOUR = 3600.0


@dataclass
class Bill:
    """What machines of one type took."""

    machines: int = 0
    hours: float = 0.0
    usd_per_hour: float | None = None


def note(folder: Path, name: str, kind: InstanceType, now: float) -> None:
    """Write down that a machine begins, or (the second time) ends.

    Args:
        folder: of the run's artifacts, which all its processes share.
        name: of the machine.
        kind: its type.
        now: unix seconds.
    """
    line = json.dumps({"name": name, "type": kind.name, "usd_per_hour": kind.usd_per_hour, "time": now}) + "\n"
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def bills(folder: Path, now: float) -> dict[str, Bill]:
    """Return what was used, by type; a machine that has no end yet counts until now."""
    began: dict[str, float] = {}
    kinds: dict[str, tuple[str, float | None]] = {}
    found: dict[str, Bill] = {}
    path = folder / FILE
    for line in path.read_text().splitlines() if path.exists() else ():
        entry = json.loads(line)
        name = entry["name"]
        if name in began:
            found[entry["type"]].hours += (entry["time"] - began.pop(name)) / _HOUR
            continue
        began[name], kinds[name] = entry["time"], (entry["type"], entry["usd_per_hour"])
        bill = found.setdefault(entry["type"], Bill(usd_per_hour=entry["usd_per_hour"]))
        bill.machines += 1
    for name, since in began.items():
        found[kinds[name][0]].hours += (now - since) / _HOUR
    return found


def describe(found: dict[str, Bill]) -> str:
    """Return one line on all of it; empty if nothing ran."""
    if not found:
        return ""
    parts = [f"{bill.machines} x {kind} {bill.hours:.2f} h" for kind, bill in sorted(found.items())]
    priced = [bill.hours * bill.usd_per_hour for bill in found.values() if bill.usd_per_hour is not None]
    price = f"; about {sum(priced):.2f} USD by the table of prices" if priced else ""
    partly = " (not all types are in it)" if 0 < len(priced) < len(found) else ""
    total = sum(bill.hours for bill in found.values())
    return f"{total:.2f} instance-hours ({', '.join(parts)}){price}{partly}"
