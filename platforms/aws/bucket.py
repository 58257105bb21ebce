"""The bucket through which images and large configs go."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from kola.errors import ConfigError
from platforms.aws.clients import once

if TYPE_CHECKING:
    from platforms.aws.clients import Clients


class Bucket:
    """A bucket of our account. Anybody may have taken its name before: no call goes to somebody else's.

    Args:
        clients: of the region.
        given: the user's; empty: ``kola-ACCOUNT-REGION``.
    """

    def __init__(self, clients: Clients, given: str) -> None:
        self._clients = clients
        self._given = given

    @functools.cached_property
    def place(self) -> dict[str, str]:
        """What every call says: which bucket, and whose it has to be (S3 denies access otherwise)."""
        account = str(self._clients.sts.get_caller_identity()["Account"])
        return {"Bucket": self._given or f"kola-{account}-{self._clients.region}", "ExpectedBucketOwner": account}

    @property
    def name(self) -> str:
        """Its name."""
        return self.place["Bucket"]

    def make(self) -> None:
        """Make it if it is not there; it is nobody's in particular, and stays. Again does nothing; never the user's.

        Raises:
            ConfigError: it is another account's.
        """
        name, region, s3 = self.name, self._clients.region, self._clients.s3
        if self._given:
            return
        where: dict[str, Any] = {}
        if region != "us-east-1":
            where["CreateBucketConfiguration"] = {"LocationConstraint": region}
        try:
            once(lambda: s3.create_bucket(Bucket=name, **where), "BucketAlreadyOwnedByYou", lambda: None)()
        except s3.exceptions.BucketAlreadyExists as e:
            raise ConfigError(f"platform aws: bucket {name} is another account's: -P bucket=NAME names yours") from e
