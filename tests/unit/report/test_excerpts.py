"""What is shown of logs, and what never is."""

from __future__ import annotations

import base64
import gzip
import json

import pytest

from kola.report import excerpts
from kola.report.excerpts import JOURNAL_LINES, Excerpt, Line
from kola.report.scrub import PLACEHOLDER, scrub, scrub_line

KEY = [
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    *["b3BlbnNzaC1rZXktdjEAAAAABG5vbmU" * 2] * 5,
    "AAE=",
    "-----END OPENSSH PRIVATE KEY-----",
]


def entry(moment: float, message: str, priority: int = 6, identifier: str = "unit", transport: str = "stdout") -> bytes:
    fields = {
        "MESSAGE": message, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": identifier, "_HOSTNAME": "host",
        "__REALTIME_TIMESTAMP": str(int(moment * 1e6)), "_TRANSPORT": transport,
    }  # fmt: skip
    return json.dumps(fields).encode() + b"\n"


def texts(excerpt: Excerpt) -> list[str]:
    return [line.text for line in excerpt.lines]


def test_a_journal_is_cut_to_the_time_of_the_test() -> None:
    data = b"".join(entry(100.0 + number, f"m{number}") for number in range(50))
    excerpt = excerpts.journal_of(data, (110.0, 112.0), whole=True)
    assert texts(excerpt) == [f"00:01:{49 + n}.000 unit: m{9 + n}" for n in range(5)]
    assert excerpt.left_out == 45


@pytest.mark.parametrize("window", [None, (5000.0, 5001.0)])
def test_without_a_time_that_fits_it_is_the_end(window: tuple[float, float] | None) -> None:
    data = b"".join(entry(100.0 + number, f"m{number}") for number in range(JOURNAL_LINES + 7))
    excerpt = excerpts.journal_of(data, window, whole=True)
    assert (len(excerpt.lines), excerpt.left_out) == (JOURNAL_LINES, 7)
    assert texts(excerpt)[-1].endswith(f"m{JOURNAL_LINES + 6}")


def test_levels_are_kept_and_logins_are_not() -> None:
    data = entry(1, "bad", 3) + entry(1, "hm", 4) + entry(1, "login", transport="audit") + entry(1, "fine")
    assert [line.level for line in excerpts.journal_of(data, None, whole=True).lines] == ["e", "w", " "]


def test_half_lines_do_no_harm() -> None:
    assert texts(excerpts.journal_of(b'E": "x"}\n' + entry(1, "m") + b'{"MESS', None, whole=False)) == [
        "00:00:01.000 unit: m"
    ]


def test_a_console_is_cleaned_and_its_end_is_shown() -> None:
    excerpt = excerpts.console(b"\x1b[2J\x1b[0;32mOK\x1b[0m\r\n\r\n" + b"x\r\n" * 300, whole=True)
    assert set(texts(excerpt)) == {"x"}
    assert excerpt.left_out == 101


def test_what_is_new_is_what_no_line_of_the_good_run_says() -> None:
    good = Excerpt((Line("12:00:01.000 systemd[1]: Started run-r0123abcd.service."), Line("02 same")))
    bad = Excerpt(
        (
            Line("13:30:41.812 systemd[1]: Started run-rdeadbeef.service."),
            Line("13:30:41.900 kernel: BUG: soft lockup"),
            Line("17 same"),
        )
    )
    assert [line.new for line in bad.against(good).lines] == [False, True, False]
    assert not any(line.new for line in bad.against(None).lines)


def test_packed_and_unpacked_it_is_the_same() -> None:
    packed = Excerpt((Line("a <b>", "e", new=True), Line("\ud800"), Line("")), 0).packed()
    assert gzip.decompress(base64.b64decode(packed)).decode() == "+ea <b>\n  ?\n  "
    assert packed == Excerpt((Line("a <b>", "e", new=True), Line("\ud800"), Line("")), 0).packed()


def test_ignition_is_found_in_the_boot_that_is_meant() -> None:
    data = b"".join(entry(moment, "files: op", identifier="ignition") for moment in (50, 110, 112.5, 300))
    assert excerpts.ignition_span(data, 100, 200) == (110.0, 112.5)
    assert excerpts.ignition_span(data, 120, 200) is None


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("root:$6$abcdefgh$0123456789abcdefghij./:19000:0", "0123456789abcdefghij"),
        ("core:$y$j9T$abcdefgh$0123456789abcdef", "0123456789abcdef"),
        ("key AKIAIOSFODNN7EXAMPLE used", "AKIAIOSFODNN7EXAMPLE"),
        ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789abcdef"),
        ('{"Authorization": "Basic dXNlcjpwYXNz"}', "dXNlcjpwYXNz"),
        ("curl -H 'bearer 0123456789abcdef0123'", "0123456789abcdef0123"),
        ("fetching https://user:hunter2@example.com/x", "hunter2"),
        ("GET /disk?X-Amz-Signature=0a1b2c3d&x=1", "0a1b2c3d"),
        ("password=hunter2 ok", "hunter2"),
        ('"passwordHash": "hunter2"', "hunter2"),
        (r"MESSAGE={\"password\": \"hunter2\", \"user\": \"core\"}", "hunter2"),
        (r'{"config": "{\"a\": \"{\\\"password\\\": \\\"hunter2\\\"}\"}"}', "hunter2"),
        (r'password: "hun\"ter2"', "ter2"),
        ('password="hunter2 and more', "hunter2"),
        ("{'token': 'hunter2'}", "hunter2"),
        ('{"token": "hunter2"}', "hunter2"),
        (r"{\"token\":\"hunter2\"}", "hunter2"),
        ("GITHUB_TOKEN=hunter2", "hunter2"),
        ("X-aws-ec2-metadata-token: hunter2==", "hunter2"),
        ('curl -H "X-Api-Key: hunter2"', "hunter2"),
        (r"{\"Authorization\": \"Basic dXNlcjpwYXNz\"}", "dXNlcjpwYXNz"),
        ("podman login --username me --password hunter2 quay.io", "hunter2"),
        ("['login', '--password', 'hunter2']", "hunter2"),
        ("jwt-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "eyJzdWIiOiIxMjM0In0"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "eyJzdWIiOiIxMjM0In0"),
        ("export GITHUB=ghp_0123456789abcdefghij", "ghp_0123456789abcdefghij"),
        ("-----BEGIN PRIVATE KEY-----\\nMIIEvQ\\n-----END PRIVATE KEY-----", "MIIEvQ"),
    ],
)
def test_secrets_are_not_shown(text: str, secret: str) -> None:
    assert secret in text
    shown = scrub(f"before\n{text}\nafter")
    assert secret not in shown
    assert PLACEHOLDER in shown
    assert shown.startswith("before\n")
    assert shown.endswith("\nafter")


@pytest.mark.parametrize(
    "text",
    [
        "Started run-r0123456789abcdef.service - /usr/bin/bash -c true.",
        "sha256:04e08340b66804e08340b66804e08340b66804e08340b66804e08340b668ab",
        "pam_unix(sshd:session): session opened for user core(uid=1000) by core(uid=0)",
        "Accepted publickey for core from 10.0.2.2 port 40112 ssh2: ED25519 SHA256:AbCdEf",
        "http://127.0.0.1:8080/v1/graph?stream=stable",
        "systemd-tty-ask-password-agent: password query",
        "X-aws-ec2-metadata-token-ttl-seconds: 21600",
        "bash: line 3: syntax error near unexpected token: `}'",
        'podman login --password-stdin --username me; password="" here',
        "login --password --username me",
        "org.monkeyJavaBeans.frameworks.beans",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert scrub(text) == text


HOSTILE = (
    "a-", "a.a+", "a://", "a://b:", "a://b:c ", "eyJaaaaaaaa-", "eyJaaaaaaaa.", "eyJaaaaaaaa-.a.", "password=",
    'password="', "password='", r"password=\\\\\"", "password ", "token", "-token", "--token ", "$argon2", "$6$",
    "basic ", "authorization=a ", "-----BEGIN PRIVATE KEY ", "PRIVATE KEY", "-----BEGIN PRIVATE KEY-----", "&sig=",
    "ghp_", " ", "\\", '"', "A",
)  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.timeout(60)
def test_no_line_takes_long(piece: str) -> None:
    """A guest chooses what it prints. Quadratic, some of these took more than a minute; linear, it is a second."""
    scrub_line(piece * (400_000 // len(piece)))


def test_a_private_key_is_cut_out() -> None:
    shown = scrub("\n".join(["before", *KEY, "after"]))
    assert "b3Blbn" not in shown
    assert "AAE=" not in shown
    assert shown.split("\n")[0] == "before"
    assert shown.split("\n")[-1] == "after"


@pytest.mark.parametrize("lines", [KEY[2:], [*KEY[2:], "after", *KEY[:3]]], ids=["its end", "an end and a beginning"])
def test_half_a_key_is_cut_out_too(lines: list[str]) -> None:
    assert "b3Blbn" not in scrub("\n".join(lines))


def test_the_word_for_a_key_hides_not_the_whole_log() -> None:
    lines = ["grep: -----BEGIN RSA PRIVATE KEY-----", *[f"line {number}" for number in range(1000)]]
    assert "line 999" in scrub("\n".join(lines))


def test_a_key_in_a_journal_has_a_line_an_entry() -> None:
    data = b"".join(entry(number, line) for number, line in enumerate(["before", *KEY, "after"]))
    shown = "\n".join(texts(excerpts.journal_of(data, None, whole=True)))
    assert "b3Blbn" not in shown
    assert "unit: after" in shown
    # Also when what is shown begins in the middle of it.
    window = (float(len(KEY) - 2), float(len(KEY)) + 5)
    assert "b3Blbn" not in "\n".join(texts(excerpts.journal_of(data, window, whole=True)))
