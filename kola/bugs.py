"""The classes of bugs that block a release; a test names the one that it covers (``covers=`` in its kola marker)."""

from __future__ import annotations

from types import MappingProxyType

BUG_CLASSES = MappingProxyType(
    {
        "boot": "the machine does not boot, or not in time",
        "provisioning": "what the Ignition config asks for is not there, or something else is",
        "first-boot-only": "what belongs to the first boot happens again, or never",
        "access": "nobody can log in, or somebody who must not",
        "identity": "two machines take each other's identity, or one loses its own",
        "storage": "disks, file systems or encryption are not as configured, or lose data",
        "network": "addresses, names or routes are missing",
        "kernel-args": "the kernel command line lacks something or keeps too much",
        "kernel": "the wrong kernel runs, or lacks something",
        "services": "a unit fails, does not start, or starts against its configuration",
        "logging": "logs are lost or cannot be read",
        "selinux-mode": "SELinux does not enforce",
        "selinux-policy": "the policy is not the one of the release",
        "selinux-label": "files or processes have wrong labels",
        "selinux-denial": "the policy denies what the system itself does",
        "confinement": "a confined process can do what it must not",
        "container-run": "containers do not run",
        "container-image": "images cannot be built, pushed, pulled or imported",
        "container-network": "containers do not reach each other or the world, or are not reached",
        "container-storage": "volumes or a container's files are lost or not accessible",
        "container-health": "sick containers go unnoticed, or are not restarted",
        "resource-limits": "a container's limits are not enforced",
        "rootless": "containers of an ordinary user do not work",
        "quadlet": "containers as systemd units do not start with the machine",
        "auto-update": "containers are not updated, or not rolled back",
        "orchestration": "a cluster of containers does not form or heal",
        "update": "an update does not arrive, or breaks what worked before",
        "update-order": "releases are taken in the wrong order, over a barrier or out of a dead end",
        "update-trust": "a release is accepted that nobody trusted has signed",
        "update-interrupted": "a power cut during an update leaves a machine that does not boot",
        "update-source": "a faulty server breaks the system that asks it for updates",
        "rollback": "the way back to the release before does not work",
        "state-lost": "what belongs to the machine is lost: /etc, /var, containers",
        "disk-full": "a full disk breaks more than what needed the space",
    }
)
