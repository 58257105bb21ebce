"""Machines on Amazon EC2."""

from __future__ import annotations

from platforms.aws.driver import Aws

PLATFORM = Aws
