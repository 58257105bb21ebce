"""The matrix of what is tested where, and how often: ``ci/matrix.toml`` -> cells -> jobs. Pure; docs/matrix.md."""

from kola.matrix.model import (
    AUTO,
    PLATFORM_FIRMWARE,
    Cadence,
    Cell,
    Choice,
    Job,
    Matrix,
    Platform,
    Runner,
    Stream,
    Suite,
)
from kola.matrix.parsing import parse, read

__all__ = [
    "AUTO",
    "PLATFORM_FIRMWARE",
    "Cadence",
    "Cell",
    "Choice",
    "Job",
    "Matrix",
    "Platform",
    "Runner",
    "Stream",
    "Suite",
    "parse",
    "read",
]
