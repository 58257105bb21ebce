"""A whole run on simulated machines: what its record says of them, and its signature."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kola.results import Outcome, RunRecord, Share, read
from kola.statement import FILE, RESULTS, Result, load_keys, read_statement, result_of
from tests.simulation.guest import DEPLOYMENT

SUITE = """
import pytest

@pytest.mark.kola(isolation="shared")
def test_shared(machine): pass

@pytest.mark.kola(isolation="shared")
def test_shared_too(machine): pass

@pytest.mark.kola(machines=2)
def test_two(machines): assert len(machines) == 2
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_the_record_of_a_run_and_its_signature(
    pytester: pytest.Pytester, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    private = Ed25519PrivateKey.generate()
    key = pytester.path / "key.pem"
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = pytester.path / "key.pub"
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    image = tmp_path / "image.raw"
    image.write_bytes(b"\0" * 510 + b"\x55\xaa")
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--platform=tests.simulation.platform:Simulated", f"--image={image}",
        f"--kola-cache={tmp_path / 'cache'}", "--suite=mine", "--sharding=hash:1/1", "--sign-key=key.pem", *workers,
    )  # fmt: skip
    result.assert_outcomes(passed=3)
    folder = pytester.path / "kola-runs/latest"
    result.stdout.fnmatch_lines([f"kola: PASSED, signed: *{FILE}"])
    text = (folder / RESULTS).read_bytes()
    record = read(folder / RESULTS)
    statement = read_statement((folder / FILE).read_bytes(), FILE, load_keys([public]), text, record)
    assert statement.result is Result.PASSED
    assert b"PRIVATE" not in text + (folder / FILE).read_bytes()

    assert (record.suites, record.shard, record.complete) == (["mine"], Share(1, 1), True)
    assert {test.suite for test in record.tests.values()} == {"mine"}
    assert {test.outcome for test in record.tests.values()} == {Outcome.PASSED}
    assert record.targets[0].image.artifact_sha256 == record.targets[0].image.sha256
    assert record.targets[0].deployments == [DEPLOYMENT]
    # One is shared and its last test does not know when it ends.
    assert len(record.machines) == 3
    for machine in record.machines.values():
        moments = [machine.created, machine.booting, machine.up, machine.gone]
        assert None not in moments, machine
        assert moments == sorted(moment for moment in moments if moment is not None)
        assert (folder / machine.artifacts).is_dir()
        assert machine.deployment == DEPLOYMENT
        assert machine.worker == ("gw0" if workers else "main")


def run_of(pytester: pytest.Pytester, tmp_path: Path, *more: str) -> RunRecord:
    image = tmp_path / "image.raw"
    image.write_bytes(b"\0" * 510 + b"\x55\xaa")
    pytester.makepyfile(test_it=SUITE)
    pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--platform=tests.simulation.platform:Simulated", f"--image={image}",
        f"--kola-cache={tmp_path / 'cache'}", *more,
    )  # fmt: skip
    return read(pytester.path / "kola-runs/latest" / RESULTS)


@pytest.mark.parametrize("workers", [("-n", "1"), ("--continue-on-collection-errors",)])
def test_a_run_that_could_not_collect_everything_is_not_complete(
    pytester: pytest.Pytester, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(test_broken="import nothing_of_that_name")
    record = run_of(pytester, tmp_path, *workers)
    assert not record.complete
    assert result_of(record) is Result.FAILED


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_what_was_not_wanted_is_counted(pytester: pytest.Pytester, tmp_path: Path, workers: tuple[str, ...]) -> None:
    """Other shares are somebody else's."""
    assert run_of(pytester, tmp_path, "-k", "two", *workers).deselected == 2
    record = run_of(pytester, tmp_path, "--sharding=hash:1/2", *workers)
    assert (len(record.tests) < 3, record.deselected) == (True, 0)


def test_without_the_key_nothing_is_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess("--platform=tests.simulation.platform:Simulated", "--sign-key=none.pem")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: key */none.pem: No such file or directory"])
    assert not (pytester.path / "kola-runs").exists()


def test_a_name_of_a_suite_is_one_word(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--suite=a b")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --suite 'a b': letters, digits and ._- only, at most 63"])
