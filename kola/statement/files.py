"""The signed statement beside ``results.json``."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING

from kola import results
from kola.errors import ConfigError
from kola.statement.content import DEPLOYMENT, RESULTS, deployment_digests, parse_statement, result_of, statement_of

if TYPE_CHECKING:
    from pathlib import Path

    from kola.results import RunRecord
    from kola.statement.content import Statement
    from kola.statement.keys import Keys, Signer

FILE = "results.intoto.jsonl"


def sign_results(folder: Path, signer: Signer) -> Statement:
    """Write the signed statement about the ``results.json`` of a folder beside it; one that is there is replaced.

    Raises:
        ConfigError: the record cannot be read, is not whole, or cannot be signed.
    """
    path = folder / RESULTS
    try:
        text = path.read_bytes()
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from e
    record = results.parse(text, str(path))
    if record.finished is None:
        raise ConfigError(f"{path}: the run is not over, or was killed: there is nothing to be signed")
    statement = statement_of(record, hashlib.sha256(text).hexdigest())
    draft = folder / f".{FILE}.{os.getpid()}"
    try:
        draft.write_bytes(signer.envelope(statement.to_json()))
        draft.replace(folder / FILE)
    except OSError as e:
        raise ConfigError(f"{folder / FILE}: {e.strerror}") from e
    finally:
        draft.unlink(missing_ok=True)
    return statement


def is_signed(folder: Path) -> bool:
    """Tell whether there is a statement about the ``results.json`` of a folder; who signed it is not looked at."""
    try:
        text = (folder / RESULTS).read_bytes()
        payload = json.loads(base64.b64decode(json.loads((folder / FILE).read_bytes())["payload"]))
        digests = [subject["digest"]["sha256"] for subject in payload["subject"] if subject["name"] == RESULTS]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return digests == [hashlib.sha256(text).hexdigest()]


def read_statement(envelope: bytes, source: str, keys: Keys, results_text: bytes, record: RunRecord) -> Statement:
    """Return a statement if it is signed as it must be, and about this record.

    Args:
        envelope: content of the file.
        source: names it in messages.
        keys: whose signatures count.
        results_text: content of ``results.json``.
        record: the same, read.

    Raises:
        ConfigError: it is not signed so, no statement, or one about something else.
    """
    statement = parse_statement(keys.opened(envelope, source), source)
    if statement.digests(RESULTS) != [hashlib.sha256(results_text).hexdigest()]:
        raise ConfigError(f"{source}: is about another {RESULTS}")
    deployments = [digest for target in record.targets for digest in deployment_digests(target)]
    if sorted(statement.digests(DEPLOYMENT)) != sorted(deployments):
        raise ConfigError(f"{source}: is about other deployments than {RESULTS}")
    if statement.result is not result_of(record):
        raise ConfigError(f"{source}: says {statement.result}, but {RESULTS} makes it {result_of(record)}")
    return statement
