"""Machines on Microsoft Azure."""

from __future__ import annotations

from platforms.azure.driver import Azure

PLATFORM = Azure
