"""Machines on Google Compute Engine."""

from __future__ import annotations

from platforms.gcp.driver import Gcp

PLATFORM = Gcp
