"""Rules for what everything above the kernel says, and for audit records, as data.

The kinds come from what kola looks for on the console (``consoleChecks`` in coreos-assembler's
``mantle/kola/harness.go``), widened; the texts are those of systemd 249 to 258, dracut, Ignition, Go
and ``kernel/audit.c``.
"""

from __future__ import annotations

from kola.checks.rule import AUDIT, Rule

_EVERYWHERE = ("console", "journal", "audit")

BOOT_RULES = (
    Rule(
        "grub-error",
        "The boot loader failed or damaged its own memory.",
        "The console before the kernel's first line.",
        needles=("magic is broken", "magic broken", "grub rescue>", "load the kernel first", "error: out of memory"),
        patterns=(
            r"(?:alloc|free) magic (?:is )?broken",
            r"grub rescue>",
            r"load the kernel first",
            r"error: out of memory",
        ),
        window=20,
        where=("console",),
    ),
    Rule(
        "dracut-fatal",
        "The initramfs gave up.",
        "The lines before it on the console.",
        needles=("dracut", "Could not boot"),
        patterns=(r"dracut\S*: (?:FATAL: |Refusing to continue)", r"Warning: Could not boot\."),
        senders=("dracut*",),
        context=4,
        window=10,
    ),
    Rule(
        "emergency-shell",
        "The boot ended in an emergency or rescue shell.",
        "The unit that failed before it says why.",
        needles=("mergency ", "rescue mode"),
        patterns=(
            r"Press Enter for emergency shell",
            r"(?:Starting|Started) (?:emergency\.service - )?Emergency Shell",
            r"Entering emergency mode|(?:You are in|Welcome to) (?:emergency|rescue) mode",
            r"Reached target (?:emergency\.target - )?Emergency Mode",
        ),
        senders=("systemd", "dracut*"),
        context=4,
        window=80,
    ),
    Rule(
        "ignition-failed",
        "Ignition could not apply the config.",
        "The message names the stage and the reason.",
        needles=("gnition", "CRITICAL : ", "failed to fetch config: "),
        patterns=(
            r"Ignition failed: ",
            r"Ignition has failed",
            # Without network it tries what needs none; the next stage fetches the rest.
            r"(?:^|ignition\[\d+\]: |ignition: )CRITICAL : (?!Ignition failed)",
            r"(?:^|ignition\[\d+\]: |ignition: )failed to fetch config: (?!resource requires networking)",
        ),
        senders=("ignition",),
        context=2,
        window=20,
    ),
    Rule(
        "initrd-cleanup",
        "The clean-up at the end of the initramfs was killed.",
        "As in coreos/bugs issue 2526.",
        needles=("initrd-cleanup.service: Main process exited",),
        patterns=(r"initrd-cleanup\.service: Main process exited, code=killed",),
        senders=("systemd",),
    ),
)

SYSTEMD_RULES = (
    Rule(
        "systemd-crash",
        "The service manager itself crashed or stopped.",
        "Its message names the signal or the assertion.",
        needles=("reezing execution", "Caught <", "Assertion '", "!!!!!!] "),
        patterns=(
            r"Freezing execution",
            r"(?:^|systemd(?:\[1\])?: )Caught <(?:SEGV|ABRT|ILL|FPE|BUS|QUIT)",
            r"(?:^|systemd(?:\[1\])?: )Assertion '.+' failed at \S+",
            r"\[!!!!!!\] ",
        ),
        senders=("systemd",),
        context=2,
        window=10,
    ),
    Rule(
        "ordering-cycle",
        "Units depend on each other in a circle and systemd dropped one of them.",
        "systemd-analyze verify default.target shows the circle.",
        needles=("rdering cycle",),
        patterns=(r"Found ordering cycle", r"Ordering cycle found", r"deleted to break ordering cycle"),
        senders=("systemd",),
        context=3,
        window=20,
    ),
    Rule(
        "generator-failed",
        "A systemd generator failed, so units are missing.",
        "Run it by hand with three scratch folders.",
        needles=("-generators/",),
        patterns=(
            r"/\S+/(?:system|user)-(?:environment-)?generators/\S+ failed (?:with|due to)",
            r"/\S+/(?:system|user)-(?:environment-)?generators/\S+ terminated by signal",
        ),
        senders=("systemd", "(sd-*"),
    ),
    Rule(
        "service-watchdog",
        "A service did not report to systemd in time and was killed.",
        "A hang, or a host far too slow.",
        needles=("Watchdog timeout (limit",),
        patterns=(r"\S+: Watchdog timeout \(limit ",),
        senders=("systemd",),
    ),
    Rule(
        "failed-unit",
        "A systemd unit is in the state `failed`.",
        "journalctl -u UNIT on the machine.",
        where=("units",),
    ),
)

PROGRAM_RULES = (
    Rule(
        "segfault",
        "A program was killed by a fault in its own code.",
        "coredumpctl info on the machine, if it keeps dumps.",
        needles=(
            ": segfault ",
            "SIGSEGV",
            "=11/SEGV",
            "traps: ",
            "unhandled exception: ",
            "User process fault",
            "ANOM_ABEND",
            "type=1701 ",
        ),
        patterns=(
            r"\S+\[\d+\]: segfault (?:\(11\) )?at ",
            r"\bSIGSEGV\b",
            r"\S+: .*status=11/SEGV",
            r"traps: \S.*\[\d+\] (?:trap |general protection)",
            r"\S+\[\d+\]: unhandled exception: ",  # arm64
            r"User process fault: ",  # s390x
            r"type=(?:ANOM_ABEND|1701) .*\bsig=(?:4|5|7|8|11|31)\b",
        ),
        senders=("systemd", "systemd-coredump", AUDIT),
        where=_EVERYWHERE,
    ),
    Rule(
        "core-dump",
        "A program was killed and its memory saved.",
        "coredumpctl info on the machine.",
        needles=("ore dumped", "dumped core", "code=dumped", "ANOM_ABEND", "type=1701 "),
        patterns=(
            r"Process \d+ \([^)]*\) of user \d+ (?:dumped core|terminated abnormally)",
            r"\(core dumped\)",
            r"\S+: .*code=dumped, status=(?!11/)\S+",
            r"type=(?:ANOM_ABEND|1701) .*\bsig=[36]\b",
        ),
        senders=("systemd", "systemd-coredump", AUDIT),
        where=_EVERYWHERE,
    ),
    Rule(
        "go-panic",
        "A program written in Go panicked.",
        "The stack of the goroutine follows it.",
        needles=("panic: ", "fatal error: "),
        patterns=(
            r"(?:^|\]: )panic: ",
            r"(?:^|\]: )fatal error: (?:all goroutines|concurrent map|runtime|unexpected signal|stack overflow)",
        ),
        senders=("*",),
        context=6,
        window=30,
    ),
)

AUDIT_RULES = (
    Rule(
        "avc-denial",
        "SELinux denied an access, or would have in enforcing mode (not of domains that the policy leaves permissive).",
        "ausearch -m avc on the machine; audit2why explains it.",
        needles=("denied  {", "denied {"),
        patterns=(r"avc:\s+denied\s+\{",),
        senders=("systemd", "dbus-daemon", "dbus-broker*", AUDIT),
        where=_EVERYWHERE,
    ),
    Rule(
        "selinux-error",
        "SELinux met a context or a transition that its policy does not know.",
        "The policy and the labels of the image do not fit each other.",
        needles=("SELINUX_ERR", "type=1401 ", "type=1108 ", "SELinux: ", "SELinux policy"),
        patterns=(
            r"type=(?:USER_)?(?:SELINUX_ERR|1401|1108)\b",
            r"SELinux:\s+Context \S+ (?:is not valid|would be invalid|became invalid)",
            r"SELinux:\s+.*(?:policydb .*(?:does not match|failed)|failed to load policy)",
            r"Failed to load SELinux policy",
        ),
        senders=("systemd", AUDIT),
        where=_EVERYWHERE,
    ),
    Rule(
        "audit-suppressed",
        "Audit records were dropped, so SELinux denials may be missing from every log.",
        "Raise the limits (auditctl -r 0 -b 8192) or find what floods it.",
        needles=("audit: ", "callbacks suppressed", "uspending logging"),
        patterns=(
            r"audit: (?:rate limit exceeded|backlog limit exceeded|audit_lost=|kauditd \w+ queue overflow)",
            r"\bk?auditd?_\w+: \d+ callbacks suppressed",
            r"[aA]udit daemon is suspending logging",
        ),
        senders=("auditd",),
        window=3,
    ),
    Rule(
        "journal-suppressed",
        "The journal dropped messages, so every other check may have missed something.",
        "Find what floods it, or raise RateLimitBurst= for the unit.",
        # not `Missed N kernel messages`: a healthy Fedora CoreOS boot says so after every audit record
        needles=("Suppressed ", "kmsg buffer overrun"),
        patterns=(r"Suppressed \d+ messages from ", r"/dev/kmsg buffer overrun"),
        senders=("systemd-journald",),
    ),
)
