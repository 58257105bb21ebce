"""Every rule against what kernels, systemd, auditd, dracut and Ignition really write."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kola.checks import (
    RULES,
    Denial,
    Finding,
    check_audit,
    check_console,
    check_journal,
    check_machine,
    check_units,
    merge,
    render_table,
    validate_skips,
    verdict,
)
from kola.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA = Path(__file__).parent / "data" / "checks"
REPOSITORY = Path(__file__).parents[2]
# samples in which one event breaks two rules
BOTH = {"kernel-bug.txt": {"kernel-bug", "kernel-oops"}}


def samples(kind: str) -> list[Path]:
    return sorted((DATA / kind).iterdir())


def journal(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def check(path: Path) -> list[Finding]:
    match path.suffix:
        case ".txt":
            return check_console(path.read_bytes().decode())
        case ".jsonl":
            return check_journal(journal(path))
        case _:
            return check_audit(path.read_text().splitlines())


ALL_SAMPLES = [*samples("console"), *samples("journal"), *samples("audit")]


@pytest.mark.parametrize("path", ALL_SAMPLES, ids=lambda path: path.name)
def test_sample_is_one_finding_of_its_rule(path: Path) -> None:
    found = check(path)
    expected = BOTH.get(path.name, {path.name.partition(".")[0]})
    assert {finding.rule for finding in found} == expected, [str(finding) for finding in found]
    assert len(found) == len(expected)
    assert all(finding.count == 1 or finding.rule == "link-flapping" for finding in found)


def test_every_rule_has_a_sample() -> None:
    sampled = {path.name.partition(".")[0] for kind in ("console", "journal", "audit") for path in samples(kind)}
    assert sampled | {"failed-unit"} == set(RULES)


def test_a_healthy_machine_has_no_findings() -> None:
    assert check_console((DATA / "clean/console.txt").read_text()) == []
    assert check_journal(journal(DATA / "clean/journal.jsonl")) == []


@pytest.mark.parametrize("rule", [rule for rule in RULES.values() if rule.needles], ids=lambda rule: rule.id)
def test_needles_are_in_every_sample_that_the_pattern_matches(rule: Any) -> None:
    """A needle that is missing would make a pattern dead: every line of every sample is tried without needles."""
    for path in [*samples("console"), *samples("audit")]:
        for line in path.read_bytes().decode().splitlines():
            if rule.pattern.search(line):
                assert any(needle in line for needle in rule.needles), line


def test_text_of_a_finding() -> None:
    record = (
        'type=AVC msg=audit(1.000:7): avc:  denied  { write } for  pid=9 comm="sh" name="x" dev="vda4" ino=3 '
        "scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=unconfined_u:object_r:user_home_t:s0 tclass=file"
    )
    denied = check_audit([record])
    assert str(denied[0]) == 'avc-denial: container_t was denied { write } on user_home_t file "x" by sh (audit)'
    panic = check_console((DATA / "console/kernel-panic.txt").read_text())[0]
    assert str(panic) == "kernel-panic: Kernel panic - not syncing: sysrq triggered crash (console)"
    assert panic.context[0].startswith("CPU: 1 UID: 0 PID: 846")
    assert "sysrq_handle_crash+0x1a/0x20" in panic.context


def test_oom_shows_who_was_killed() -> None:
    oom = check_console((DATA / "console/oom.txt").read_text())[0]
    assert "tail invoked oom-killer" in oom.line
    assert oom.context[-1].startswith("Out of memory: Killed process 1405 (tail)")


@pytest.mark.parametrize(
    ("domain", "permissive", "found"),
    [
        ("bootupd_t", 1, 0),
        ("systemd_zram_generator_t", 1, 0),
        ("bootupd_t", 0, 1),
        ("sshd_t", 1, 1),
        ("systemd_resolved_t", 1, 1),
    ],
)
def test_what_a_domain_does_that_the_policy_leaves_permissive(domain: str, permissive: int, found: int) -> None:
    """Fedora's policy declares some domains permissive: nobody is denied anything. Of others it counts."""
    line = (
        'type=AVC msg=audit(1728412967.101:311): avc:  denied  { read } for  pid=9 comm="x" name="y" '
        f"scontext=system_u:system_r:{domain}:s0 tcontext=u:r:b_t:s0 tclass=file permissive={permissive}"
    )
    assert len(check_audit([line])) == found


def test_denial_in_permissive_mode_counts_and_says_so() -> None:
    found = check_audit((DATA / "audit/avc-denial.permissive.log").read_text().splitlines())
    assert found[0].denial == Denial(
        "systemd_homed_t", "write add_name", "systemd_homed_cache_t", "dir", "home", "systemd-homed", permissive=True
    )
    assert "[permissive]" in str(found[0])


def test_denial_with_encoded_names() -> None:
    denial = check_audit((DATA / "audit/avc-denial.hex.log").read_text().splitlines())[0].denial
    assert denial is not None
    assert (denial.comm, denial.object) == ("my app 1", "a b")


def test_one_denial_in_three_logs_is_one_finding() -> None:
    found = check_machine(
        console=(DATA / "console/avc-denial.txt").read_text(),
        journal=journal(DATA / "journal/avc-denial.kernel-and-audit.jsonl"),
        audit=(DATA / "audit/avc-denial.log").read_text().splitlines(),
    )
    assert [(f.rule, f.count, f.source) for f in found] == [("avc-denial", 1, "console+journal+audit")]


def test_repeated_denials_are_counted_once_each() -> None:
    line = (
        'type=AVC msg=audit(17.000:{}): avc:  denied  {{ read }} for  pid={} comm="x" name="f" dev="vda4" ino=3 '
        "scontext=u:r:a_t:s0 tcontext=u:r:b_t:s0 tclass=file permissive=0"
    )
    audit = [line.format(serial, 100 + serial) for serial in range(12)]
    printed = [text.replace("type=AVC msg=", "audit: type=1400 ") for text in audit]
    entries = [{"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "MESSAGE": text} for text in printed]
    found = check_machine(journal=entries, audit=audit)
    assert [finding.count for finding in found] == [12]
    assert str(found[0]).endswith(" x12 (journal+audit)")


def test_one_event_on_console_and_in_journal_is_one_finding() -> None:
    text = "WARNING: CPU: {} PID: {} at drivers/x.c:17 f+0x1/0x2 [x]"
    console = f"[    1.000001] {text.format(0, 17)}\r\n[    9.000001] {text.format(1, 99)}\r\n"
    entry = {"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "MESSAGE": text.format(0, 17)}
    found = check_machine(console=console, journal=[entry])
    assert [(f.rule, f.count, f.source) for f in found] == [("kernel-warning", 2, "console+journal")]


def test_two_different_warnings_are_two_findings() -> None:
    console = "[ 1.0] WARNING: CPU: 0 PID: 1 at a.c:311 f+0x1/0x2\n[ 1.1] WARNING: CPU: 0 PID: 1 at a.c:320 f+0x1/0x2\n"
    assert len(check_console(console)) == 2


def test_a_sender_is_believed_for_its_own_messages_only() -> None:
    for identifier, expected in (("systemd", ["systemd-crash"]), ("sh", [])):
        entry = {"_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": identifier, "MESSAGE": "Freezing execution."}
        assert [finding.rule for finding in check_journal([entry])] == expected


PRINTED = (DATA / "console/audit-suppressed.print.txt").read_text()


def received(serial: int, when: str) -> Mapping[str, Any]:
    return {
        "_TRANSPORT": "audit", "_AUDIT_TYPE_NAME": "SERVICE_START", "_AUDIT_ID": str(serial),
        "_SOURCE_REALTIME_TIMESTAMP": when, "MESSAGE": "SERVICE_START pid=1",
    }  # fmt: skip


def test_records_that_were_only_not_printed_are_no_finding() -> None:
    both = [received(42, "1790000014500000"), received(43, "1790000015000000")]
    assert check_machine(console=PRINTED, journal=both) == []
    by_auditd = ["type=SERVICE_START msg=audit(1790000015.000:43): pid=1"]
    assert check_machine(console=PRINTED, journal=both[:1], audit=by_auditd) == []


def test_log_that_begins_among_suppressed_records() -> None:
    tail = "".join(PRINTED.splitlines(keepends=True)[1:])
    assert check_machine(console=tail, journal=[received(n, "1790000015000000") for n in (42, 43)]) == []
    assert len(check_machine(console=tail, journal=[received(43, "1790000015000000")])) == 1


def test_records_that_no_log_holds_are_a_finding() -> None:
    one = [received(42, "1790000014500000")]
    assert [f.rule for f in check_machine(console=PRINTED, journal=one)] == ["audit-suppressed"]
    of_another_boot = [received(42, "1780000014500000"), received(43, "1780000015000000")]
    assert [f.rule for f in check_machine(console=PRINTED, journal=of_another_boot)] == ["audit-suppressed"]
    lost = "[   14.369882] audit: backlog limit exceeded\n"
    everything = [received(n, "1790000014500000") for n in range(99)]
    assert [f.rule for f in check_machine(console=lost, journal=everything)] == ["audit-suppressed"]


def test_failed_unit_shows_its_last_messages() -> None:
    entries: list[Mapping[str, Any]] = [
        {"_SYSTEMD_UNIT": "broken.service", "MESSAGE": f"line {n}\nmore", "SYSLOG_IDENTIFIER": "sh"} for n in range(9)
    ]
    entries.append({"UNIT": "broken.service", "MESSAGE": "Failed with result 'exit-code'."})
    found = check_units(["broken.service", "a.service", "broken.service"], entries)
    assert [str(f) for f in found] == ["failed-unit: a.service (units)", "failed-unit: broken.service (units)"]
    assert found[1].context[-2:] == ("line 8", "Failed with result 'exit-code'.")
    assert len(found[1].context) == 6


def test_verdict_parts_by_rule() -> None:
    findings = check_console("[ 1.0] Kernel panic - not syncing: x\n") + check_units(["a.service"])
    failing, skipped = verdict(findings, {"kernel-panic": "provoked"})
    assert [f.rule for f in failing] == ["failed-unit"]
    assert [f.rule for f in skipped] == ["kernel-panic"]


def test_unknown_rule_is_one_line_with_the_valid_ones() -> None:
    with pytest.raises(ConfigError) as error:
        validate_skips({"kernel-panik": "typo"})
    assert "'kernel-panik'" in str(error.value)
    assert "kernel-panic, kernel-oops" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("reason", ["", "  ", None, True])
def test_skip_needs_a_reason(reason: object) -> None:
    with pytest.raises(ConfigError, match="'oom' needs a reason"):
        validate_skips({"oom": reason})


def test_merge_keeps_order_and_takes_context_from_where_there_is_some() -> None:
    first = Finding("oom", "console", "a", key="a")
    second = Finding("oom", "journal", "a", context=("c",), key="a", count=3)
    other = Finding("oom", "journal", "b", key="b")
    assert [(f.key, f.count, f.context) for f in merge([first, other, second])] == [("a", 3, ("c",)), ("b", 1, ())]


def test_documentation_is_the_table() -> None:
    assert (REPOSITORY / "docs/checks.md").read_text() == render_table(), "run: python -m kola.checks > docs/checks.md"


def test_ten_megabytes_of_console_take_less_than_a_second() -> None:
    boot = "\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39maudit.service\x1b[0m - Warnings and errors.\r\n" * 1000
    text = boot * (10_000_000 // len(boot)) + "[ 9.0] Kernel panic - not syncing: at the end\n"
    # processor time of this process: a busy host must not make it fail
    began = time.process_time()
    found = check_console(text)
    assert time.process_time() - began < 1.0
    assert [f.rule for f in found] == ["kernel-panic"]
