"""What the user may set with ``-P`` on AWS."""

from __future__ import annotations

from dataclasses import dataclass

from kola.cloud.options import CloudOptions


@dataclass(frozen=True)
class Options(CloudOptions):
    """Options of the aws platform, beside those of every cloud. Credentials are found as by any AWS tool.

    Attributes:
        region: empty: that of the environment or the profile.
        profile: of the AWS configuration.
        subnet: for the machines; empty: the default VPC's of each zone.
        security_group: of the machines; empty: one is made for the run.
        allow_from: CIDR block that may reach the machines' SSH, in the group that is made.
        instance_profile: name of the IAM instance profile that machines get; empty: no credentials.
        bucket: for images and large configs; empty: ``kola-ACCOUNT-REGION``, made if it is not there.
        import_role: role of the VM import service.
        tpm: give machines a virtual TPM (images that are uploaded).
    """

    region: str = ""
    profile: str = ""
    subnet: str = ""
    security_group: str = ""
    allow_from: str = "0.0.0.0/0"
    instance_profile: str = ""
    bucket: str = ""
    import_role: str = "vmimport"
    tpm: bool = False
