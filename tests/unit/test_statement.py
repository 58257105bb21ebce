"""Keys, signatures and files are real; only the results are made up."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from kola.cli import main
from kola.errors import ConfigError
from kola.results import ImageRecord, Outcome, RunRecord, Share, Target, TestRecord, parse
from kola.statement import (
    FILE,
    RESULTS,
    Result,
    Statement,
    load_keys,
    load_signer,
    read_statement,
    result_of,
    sign_results,
    statement_of,
)

DEPLOYMENT, DISK, ARTIFACT = "1" * 64, "2" * 64, "3" * 64


def record(*outcomes: Outcome, complete: bool = True, exit_code: int | None = 0) -> RunRecord:
    image = ImageRecord(
        "build:b", build_id="42.1", stream="testing", sha256=DISK, artifact_sha256=ARTIFACT, platform_id="ami-7"
    )
    tests = [TestRecord(f"a.py::test_{number}_{outcome}", outcome) for number, outcome in enumerate(outcomes)]
    return RunRecord(
        "abcd",
        "0.1.0",
        1000.0,
        [Target("aws", "x86_64", "cloud", image, deployments=[DEPLOYMENT])],
        {test.nodeid: test for test in tests},
        suites=["basic"],
        shard=Share(1, 2),
        finished=2000.0,
        complete=complete,
        exit_code=exit_code,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(Outcome.PASSED, Outcome.SKIPPED).write(tmp_path / RESULTS)
    return tmp_path


def key_pair(folder: Path, name: str = "key", *, curve: bool = False, password: bytes = b"") -> tuple[Path, Path]:
    private = ec.generate_private_key(ec.SECP256R1()) if curve else ed25519.Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    secret, public = folder / f"{name}.pem", folder / f"{name}.pub"
    secret.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return secret, public


def reread(folder: Path, *public: Path, threshold: int = 1) -> Statement:
    text = (folder / RESULTS).read_bytes()
    keys = load_keys(public, threshold)
    return read_statement((folder / FILE).read_bytes(), FILE, keys, text, parse(text, RESULTS))


@pytest.mark.parametrize("curve", [False, True])
def test_what_was_signed_can_be_read_and_verified(folder: Path, *, curve: bool) -> None:
    secret, public = key_pair(folder, curve=curve)
    signed = sign_results(folder, load_signer(str(secret)))
    assert reread(folder, public) == signed
    assert {path.name for path in folder.iterdir()} == {RESULTS, FILE, "key.pem", "key.pub"}


def test_it_is_what_the_formats_say(folder: Path) -> None:
    """Read without the libraries: the words of in-toto and of DSSE."""
    secret, _ = key_pair(folder)
    sign_results(folder, load_signer(f"file:{secret}"))
    envelope = json.loads((folder / FILE).read_text())
    assert (envelope["payloadType"], len(envelope["signatures"])) == ("application/vnd.in-toto+json", 1)
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    subjects = [(subject["name"], subject["digest"]["sha256"]) for subject in statement["subject"]]
    assert subjects[1:] == [("deployment", DEPLOYMENT), ("artifact", ARTIFACT), ("disk image", DISK)]
    target, image = statement["predicate"].pop("configuration")
    assert statement["predicate"] == {"result": "PASSED", "passedTests": ["a.py::test_0_passed"]}
    assert (target["name"], image["name"]) == ("aws x86_64", "ami-7")
    assert target["annotations"]["shard"] == "1 of 2"


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [
        ([Outcome.PASSED], Result.PASSED),
        ([Outcome.PASSED, Outcome.SKIPPED], Result.PASSED),
        ([Outcome.PASSED, Outcome.FLAKY], Result.WARNED),
        ([Outcome.PASSED, Outcome.WARNED], Result.WARNED),
        ([Outcome.WARNED, Outcome.FAILED], Result.FAILED),
        ([Outcome.PASSED, Outcome.NOT_RUN], Result.FAILED),
        ([Outcome.PASSED, Outcome.PROVIDER_ERROR], Result.FAILED),
        ([Outcome.SKIPPED], Result.FAILED),
        ([], Result.FAILED),
    ],
)
def test_the_one_word(outcomes: list[Outcome], result: Result) -> None:
    assert result_of(record(*outcomes)) is result


@pytest.mark.parametrize("change", [{"complete": False}, {"exit_code": 2}, {"exit_code": 1}, {"exit_code": None}])
def test_a_run_that_did_not_come_to_its_end_failed(change: dict[str, Any]) -> None:
    assert result_of(record(Outcome.PASSED, exit_code=77)) is Result.PASSED
    assert result_of(replace(record(Outcome.PASSED), **change)) is Result.FAILED


def test_every_test_that_is_no_success_is_named() -> None:
    assert statement_of(record(*Outcome), "0" * 64).tests == {
        Result.PASSED: ["a.py::test_0_passed"],
        Result.WARNED: ["a.py::test_2_flaky", "a.py::test_3_warned"],
        Result.FAILED: ["a.py::test_1_failed", "a.py::test_5_provider-error", "a.py::test_6_not-run"],
    }


def results_changed(folder: Path) -> None:
    (folder / RESULTS).write_bytes((folder / RESULTS).read_bytes() + b"\n")


def payload_changed(folder: Path) -> None:
    envelope = json.loads((folder / FILE).read_text())
    payload = base64.b64decode(envelope["payload"]).replace(b"ami-7", b"ami-8")
    (folder / FILE).write_text(json.dumps(envelope | {"payload": base64.b64encode(payload).decode()}))


def signature_removed(folder: Path) -> None:
    (folder / FILE).write_text(json.dumps(json.loads((folder / FILE).read_text()) | {"signatures": []}))


def type_changed(folder: Path) -> None:
    (folder / FILE).write_text(json.dumps(json.loads((folder / FILE).read_text()) | {"payloadType": "text/plain"}))


def cut(folder: Path) -> None:
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:100])


def something_else_signed(folder: Path) -> None:
    signer = load_signer(str(folder / "key.pem"))
    (folder / FILE).write_bytes(signer.envelope(b'{"_type": "https://in-toto.io/Statement/v1", "subject": []}'))


def better_result_signed(folder: Path) -> None:
    """By whoever has the key, but the record says otherwise."""
    text = (folder / RESULTS).read_bytes()
    honest = sign_results(folder, load_signer(str(folder / "key.pem")))
    failed = record(Outcome.FAILED, exit_code=1)
    failed.write(folder / RESULTS)
    assert (folder / RESULTS).read_bytes() != text
    other = sign_results(folder, load_signer(str(folder / "key.pem")))
    better = replace(other, result=honest.result, tests=honest.tests)
    (folder / FILE).write_bytes(load_signer(str(folder / "key.pem")).envelope(better.to_json()))


def other_deployment_signed(folder: Path) -> None:
    signer = load_signer(str(folder / "key.pem"))
    signed = sign_results(folder, signer)
    other = tuple((name, "4" * 64 if name == "deployment" else digest) for name, digest in signed.subjects)
    (folder / FILE).write_bytes(signer.envelope(replace(signed, subjects=other).to_json()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (results_changed, "is about another results.json"),
        (payload_changed, "not signed by 1 of the 1 known keys"),
        (signature_removed, "not signed by 1 of the 1 known keys"),
        (type_changed, "payload of type text/plain"),
        (cut, "no DSSE envelope"),
        (something_else_signed, "no statement about tests"),
        (better_result_signed, "says PASSED, but results.json makes it FAILED"),
        (other_deployment_signed, "is about other deployments"),
    ],
)
def test_what_was_changed_is_refused(folder: Path, change: Callable[[Path], None], message: str) -> None:
    secret, public = key_pair(folder)
    sign_results(folder, load_signer(str(secret)))
    reread(folder, public)
    change(folder)
    with pytest.raises(ConfigError, match=message):
        reread(folder, public)


def test_only_the_known_keys_count(folder: Path) -> None:
    secret, public = key_pair(folder)
    _, other = key_pair(folder, "other")
    sign_results(folder, load_signer(str(secret)))
    assert reread(folder, other, public).result is Result.PASSED
    with pytest.raises(ConfigError, match="not signed by 1 of the 1 known keys"):
        reread(folder, other)
    with pytest.raises(ConfigError, match="not signed by 2 of the 2 known keys"):
        reread(folder, other, public, threshold=2)
    with pytest.raises(ConfigError, match="2 signatures are wanted, but there are 1 keys"):
        reread(folder, public, public, threshold=2)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("none.pem", "none.pem: No such file"),
        ("key.pub", "key.pub: no private key in PEM"),
        ("secret.pem", "secret.pem: is encrypted"),
        ("ftp:key", "unknown scheme 'ftp'; known: awskms, azurekms, file, gcpkms, gnupg, hsm, hv"),
        ("awskms:alias/kola", "its public half is needed, too: --sign-public-key FILE"),
    ],
)
def test_keys_that_cannot_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    key_pair(tmp_path)
    key_pair(tmp_path, "secret", password=b"x")
    with pytest.raises(ConfigError, match=message):
        load_signer(uri)


def test_a_key_of_a_service_needs_its_library(tmp_path: Path) -> None:
    """The way to a KMS as far as it goes without one."""
    _, public = key_pair(tmp_path)
    with pytest.raises(ConfigError, match=r"key hv:kola/1: .*(hvac|library)"):
        load_signer("hv:kola/1", public)


def test_the_public_half_of_another_key(tmp_path: Path) -> None:
    secret, _ = key_pair(tmp_path)
    _, other = key_pair(tmp_path, "other")
    with pytest.raises(ConfigError, match="not of that public key"):
        load_signer(str(secret), other)
    with pytest.raises(ConfigError, match=r"public key .*key\.pem: none in PEM"):
        load_keys([secret])
    with pytest.raises(ConfigError, match="No such file"):
        load_keys([tmp_path / "none"])


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret, public = key_pair(folder)
    assert main(["sign", str(folder), "--key", str(secret)]) == 0
    assert capsys.readouterr().out == f"{folder / FILE}: PASSED, 4 subjects\n"
    assert reread(folder, public).result is Result.PASSED
    replace(record(Outcome.PASSED), finished=None).write(folder / RESULTS)
    assert main(["sign", str(folder), "--key", str(secret)]) == 4
    assert "the run is not over" in capsys.readouterr().err
    assert main(["sign", str(folder / "none"), "--key", str(secret)]) == 4
    assert "none/results.json: No such file" in capsys.readouterr().err
