"""The azure driver, by the contract of all clouds, against an Azure of its own; what is particular to Azure."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.unit.cloud.contract import CloudContract


class TestAzure(CloudContract):
    NAME: ClassVar[str] = "azure"
    CREATE: ClassVar[str] = "VirtualMachines.CreateOrUpdate"
    LIST: ClassVar[str] = "VirtualMachines.List"

    def break_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IDENTITY_HEADER", "wrong")
