"""Ignition configs as values: read, check, merge, add to, write. Pure, and one code path for every 3.x version.

``shapes`` is the vocabulary of ``schema``, the specification as a table (with ``parts`` and ``storage``); ``checks``
has the rules for single values.
"""

from kola.ignition.building import add_directory, add_file, add_kernel_args, add_link, add_unit, add_user, data_url
from kola.ignition.merging import merge
from kola.ignition.model import (
    VERSIONS,
    Config,
    empty,
    needs_tpm,
    parse,
    required_version,
    serialise,
    size,
    too_new_for,
)
from kola.ignition.redaction import redact

__all__ = [
    "VERSIONS",
    "Config",
    "add_directory",
    "add_file",
    "add_kernel_args",
    "add_link",
    "add_unit",
    "add_user",
    "data_url",
    "empty",
    "merge",
    "needs_tpm",
    "parse",
    "redact",
    "required_version",
    "serialise",
    "size",
    "too_new_for",
]
