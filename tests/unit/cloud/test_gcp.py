"""The gcp driver, by the contract of all clouds, against a Google Cloud on this host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import pytest

from rehearsal.faults import Trouble
from tests.unit.cloud.contract import CloudContract


class TestGcp(CloudContract):
    NAME: ClassVar[str] = "gcp"
    CREATE: ClassVar[str] = "instances.insert"
    LIST: ClassVar[str] = "instances.aggregatedList"

    def survives(self, trouble: Trouble, call: str) -> bool:
        """The SDK gets itself another token when one is no longer good."""
        return trouble is Trouble.LOST or (trouble is Trouble.EXPIRED and call != "oauth2.token")

    def break_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        path = Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
        wrong = json.loads(path.read_text()) | {"client_email": "nobody@rehearsal-1.iam.gserviceaccount.com"}
        path.write_text(json.dumps(wrong))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
