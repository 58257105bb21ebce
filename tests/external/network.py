"""Networks between the machines of a test, whatever manages the interfaces of the distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kola.machine import Machine

# A manager that waits for DHCP in vain takes foreign addresses away again.
_JOIN = r"""
set -euo pipefail
if systemctl --quiet is-active NetworkManager; then nmcli device set "$1" managed no; fi
ip link set "$1" up
ip addr replace "$2" dev "$1"
"""


def join(machine: Machine, network: str, address: str) -> str:
    """Give a machine an address on a network of the test until the next boot; returns the interface's name.

    Args:
        machine: with that network in its marker's ``nics``.
        network: its name there.
        address: with the prefix length, such as ``192.168.77.1/24``.
    """
    interface = machine.interface(network)
    machine.run(["bash", "-c", _JOIN, "join", interface, address], sudo=True)
    return interface
