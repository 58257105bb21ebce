"""``-n auto``: how many workers, from what tests really used in earlier runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kola.arch import host_arch
from kola.cgroup import available_cores
from kola.needs import Needs, memory_mib
from kola.usage import Kind, UsageStore

if TYPE_CHECKING:
    from kola.options import Settings

KVM_DEVICE = "/dev/kvm"
MOST_PER_CORE = 4
"""Workers for each core, however little the machines use: the workers themselves have work to do, too."""
MOST_ELSEWHERE = 16
"""Workers for machines that run on other hosts: what providers allow at once, and ssh and pytest can stand here."""


@dataclass(frozen=True)
class Workers:
    """How many, and why, for a person."""

    count: int
    reason: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.count} worker{'s' if self.count > 1 else ''}: {self.reason}"

    def at_most(self, limit: int | None, why: str) -> Workers:
        """Return no more than that."""
        return self if limit is None or limit >= self.count else Workers(limit, why)


def workers_for(settings: Settings) -> Workers | None:
    """Choose the number of workers of a run that is about to begin; None if it boots no machines."""
    if settings.platform is None:
        return None
    known = UsageStore(settings.cache).read()
    platform, arch = settings.platform, settings.arch.name
    # Which one it really is shows only when the run has begun: a guest is booted to find out.
    usable = arch == host_arch().name and os.access(KVM_DEVICE, os.R_OK | os.W_OK)
    accelerator = known.last_accelerator(platform, arch) or ("kvm" if usable else "tcg")
    kind = Kind(platform, arch, accelerator)
    return choose_workers(
        accelerator,
        cores=available_cores(),
        mean_cpus=known.mean_cpus(kind),
        budget_mib=settings.memory_budget_mib,
        charge_mib=known.typical_mib(kind),
        declared_mib=memory_mib(Needs()),
    )


def choose_workers(
    accelerator: str,
    *,
    cores: int,
    mean_cpus: float | None,
    budget_mib: int,
    charge_mib: int | None,
    declared_mib: int,
) -> Workers:
    """Choose the number of workers; pure.

    Without a measurement and without KVM: first boots keep all virtual CPUs of a machine busy, usually two, and more of
    them at once than there are cores for are held back (``kola.slots``). So it is one worker for each boot that fits,
    and one that tests while the others boot.

    Args:
        accelerator: ``kvm``, ``tcg``, or another word for machines that run on other hosts.
        cores: of this host.
        mean_cpus: cores that a running test used on average in earlier runs; None if unknown.
        budget_mib: memory for all machines, in MiB.
        charge_mib: what a machine is charged that is known from earlier runs, in MiB; None if unknown.
        declared_mib: what a test declares that says nothing about memory, in MiB.
    """
    if accelerator not in {"kvm", "tcg"}:
        chosen = Workers(MOST_ELSEWHERE, "the machines run on other hosts")
    elif mean_cpus is not None:
        most = MOST_PER_CORE * cores
        wanted = max(1, round(cores / mean_cpus)) if mean_cpus > cores / most else most
        chosen = Workers(min(most, wanted), f"a test used {mean_cpus:.1f} of {cores} CPUs in earlier runs")
    elif accelerator == "kvm":
        chosen = Workers(cores, f"{cores} CPUs, and no earlier run to tell what a test uses")
    else:
        chosen = Workers(
            cores // 2 + 1, f"{cores} CPUs, 2 for each emulated boot, no earlier run to tell what a test uses"
        )
    charge = min(charge_mib or declared_mib, declared_mib)
    # All are charged what they use, and one of them may grow to all that it declares (``kola.ledger``).
    fitting = max(1, (budget_mib - declared_mib + charge) // charge)
    return chosen.at_most(fitting, f"memory budget {budget_mib} MiB, {charge} MiB a test")
