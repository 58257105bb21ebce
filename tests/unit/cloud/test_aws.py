"""The aws driver, by the contract of all clouds, against moto with machines of its own."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.unit.cloud.contract import CloudContract


class TestAws(CloudContract):
    NAME: ClassVar[str] = "aws"
    CREATE: ClassVar[str] = "RunInstances"
    LIST: ClassVar[str] = "DescribeInstances"

    def break_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
