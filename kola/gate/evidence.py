"""The results that there are: what each job's folder holds, and why some of it cannot be believed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kola import results
from kola.errors import ConfigError
from kola.gate.findings import Code, Finding
from kola.statement import FILE, RESULTS, Keys, read_statement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kola.results import RunRecord


@dataclass(frozen=True)
class JobFiles:
    """The content of two files of a job's folder; None: there is none."""

    folder: str
    results: bytes | None
    statement: bytes | None = None


@dataclass(frozen=True)
class Evidence:
    """What one job's folder proves.

    Attributes:
        folder: its name, which is to be the job's.
        record: the results; None if they cannot be read.
        findings: why they cannot be believed.
    """

    folder: str
    record: RunRecord | None
    findings: tuple[Finding, ...] = ()


def collect(folders: Iterable[JobFiles], keys: Keys) -> dict[str, Evidence]:
    """Read what the folders hold, verify its signatures, and find what is there twice.

    Args:
        folders: in any order, each name once; those without results are left out.
        keys: whose signatures count.

    Returns:
        Evidence by the name of the folder.
    """
    evidence = {files.folder: _evidence(files, keys) for files in folders if files.results is not None}
    for folder, others in _twice(evidence.values()).items():
        text = f"the same run, or another of the same name, is in {', '.join(others)}"
        found = evidence[folder]
        evidence[folder] = replace(found, findings=(*found.findings, Finding(Code.DUPLICATE, folder, text)))
    return evidence


def _twice(evidence: Iterable[Evidence]) -> dict[str, list[str]]:
    """Return the folders with the same run, or a run of the same name, and the others of each."""
    by_word: dict[str, list[str]] = {}
    for found in evidence:
        if found.record is not None:
            for word in {f"run {found.record.run_id}", f"name {found.record.name or found.folder}"}:
                by_word.setdefault(word, []).append(found.folder)
    twice: dict[str, set[str]] = {}
    for folders in by_word.values():
        for folder in folders if len(folders) > 1 else ():
            twice.setdefault(folder, set()).update(set(folders) - {folder})
    return {folder: sorted(others) for folder, others in sorted(twice.items())}


def _evidence(files: JobFiles, keys: Keys) -> Evidence:
    folder, text = files.folder, files.results or b""
    try:
        record = results.parse(text, RESULTS)
    except ConfigError as e:
        return Evidence(folder, None, (Finding(Code.UNREADABLE, folder, str(e)),))
    if files.statement is None:
        return Evidence(folder, record, (Finding(Code.UNSIGNED, folder, f"there is no {FILE} beside {RESULTS}"),))
    try:
        read_statement(files.statement, FILE, keys, text, record)
    except ConfigError as e:
        return Evidence(folder, record, (Finding(Code.SIGNATURE, folder, str(e)),))
    return Evidence(folder, record)
