"""What the user may set with ``-P`` on Google Cloud."""

from __future__ import annotations

from dataclasses import dataclass

from kola.cloud.options import CloudOptions, words
from kola.errors import ConfigError

CONFIDENTIAL = {"confidential": "SEV", "sev": "SEV", "sev-snp": "SEV_SNP", "tdx": "TDX"}
"""Features of machine types for which a kind of confidential computing is switched on."""


@dataclass(frozen=True)
class Options(CloudOptions):
    """Options of the gcp platform, beside those of every cloud. Credentials are found as by any tool of Google's.

    Attributes:
        project: empty: that of the credentials or of the environment.
        region: whose zones are used.
        network: of the machines.
        subnet: of the machines; empty: the network's own in the region.
        network_tags: of the machines, separated by commas; empty: one of the run, for which a firewall rule is made.
        allow_from: CIDR block that may reach the machines' SSH, in the rule that is made.
        service_account: that machines get; empty: no credentials.
        bucket: for images and large configs; empty: ``kola-PROJECT``, made if it is not there.
        bucket_location: where that is made.
        disk_type: of all disks.
        secure_boot: boot only what is signed.
        vtpm: give machines a virtual TPM, and measure their boot.
    """

    project: str = ""
    region: str = "us-central1"
    network: str = "default"
    subnet: str = ""
    network_tags: str = ""
    allow_from: str = "0.0.0.0/0"
    service_account: str = ""
    bucket: str = ""
    bucket_location: str = "US"
    disk_type: str = "pd-balanced"
    secure_boot: bool = False
    vtpm: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.secure_boot and not self.vtpm:
            raise ConfigError("-P secure-boot=true needs -P vtpm=true")
        if len(self.confidential) > 1:
            raise ConfigError(f"-P features={self.features}: one of {', '.join(CONFIDENTIAL)} at a time")

    @property
    def confidential(self) -> list[str]:
        """The kind of confidential computing, or none."""
        return sorted({CONFIDENTIAL[word] for word in words(self.features) if word in CONFIDENTIAL})
