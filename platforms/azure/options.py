"""What the user may set with ``-P`` on Azure."""

from __future__ import annotations

from dataclasses import dataclass

from kola.cloud.options import CloudOptions


@dataclass(frozen=True)
class Options(CloudOptions):
    """Options of the azure platform, beside those of every cloud; credentials are ``DefaultAzureCredential``'s.

    Attributes:
        subscription: its id; empty: that in ``AZURE_SUBSCRIPTION_ID``.
        location: such as ``westeurope``; empty: that of the resource group, which then has to be named.
        resource_group: for everything that is made; empty: a group is made for the run, and one for each image.
        subnet: id of one for the machines; empty: a virtual network is made for the run.
        security_group: id of the machines' network security group; empty: one is made for the run.
        allow_from: CIDR block that may reach the machines' SSH, in the group that is made.
        identity: resource id of the user-assigned identity that machines get; empty: none.
        disk_type: of the machines' disks, such as ``StandardSSD_LRS`` or ``Premium_LRS``.
        secure_boot: boot only what is signed (a trusted launch).
        vtpm: give machines a virtual TPM (a trusted launch).
    """

    subscription: str = ""
    location: str = ""
    resource_group: str = ""
    subnet: str = ""
    security_group: str = ""
    allow_from: str = "0.0.0.0/0"
    identity: str = ""
    disk_type: str = "StandardSSD_LRS"
    secure_boot: bool = False
    vtpm: bool = False
