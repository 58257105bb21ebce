"""Rules for what the kernel says, as data.

The kinds come from what kola looks for on the console (``consoleChecks`` in coreos-assembler's
``mantle/kola/harness.go``), widened; the texts are those of Linux 5.x to 7.x (``kernel/panic.c``, ``lib/bug.c``,
``mm/oom_kill.c``...).
"""

from __future__ import annotations

from kola.checks.rule import Rule

_SLOW_HOST = "On an overloaded or emulating host this can be the host: skip it there, with that reason."

_OF_OUR_HARDWARE = r"virtballoon_free_page_report\+"
"""Function that warns for nothing: at a reboot the kernel breaks the queues of all virtio devices, and then minds that
a page that has just become free cannot be reported, which only machines with the qemu platform's balloon do."""

KERNEL_RULES = (
    Rule(
        "kernel-panic",
        "The kernel panicked.",
        "The message names the reason; the call trace follows it.",
        needles=("Kernel panic - not syncing",),
        patterns=(r"(?<!end )Kernel panic - not syncing",),
        context=15,
        window=40,
    ),
    Rule(
        "kernel-oops",
        "The kernel met a fault in its own code (oops).",
        "The call trace names the function.",
        needles=("Oops: ", "nable to handle ", "kernel NULL pointer dereference", "general protection fault"),
        patterns=(
            r"Oops: ",
            r"BUG: [uU]nable to handle ",
            r"BUG: kernel NULL pointer dereference",
            r"Unable to handle kernel ",  # arm64, s390x
            r"general protection fault.*\[#\d+\]",  # without the counter it is a program's
        ),
        context=15,
        window=15,
    ),
    Rule(
        "kernel-bug",
        "The kernel found its own state impossible (BUG).",
        "The file and line, or the function, are in the message.",
        needles=("kernel BUG at ", "BUG: "),
        patterns=(
            r"kernel BUG at \S+",
            r"\bBUG: (?:scheduling while atomic|sleeping function|using __this_cpu|using smp_processor_id)",
            r"\bBUG: (?:Bad |non-zero pgtables|spinlock|rwlock|TASK stack guard|stack guard|IRQ stack guard)",
            r"\bBUG: (?:Invalid wait context|MAX_\w+ too low|Dentry |kmalloc|skbuff|arch topology)",
        ),
        context=15,
        window=15,
    ),
    Rule(
        "kernel-warning",
        "The kernel warned of a state that should not be (WARN); but for one of virtio_balloon at a reboot.",
        "The file, line and function are in the message; the trace says who called.",
        needles=("WARNING: ",),
        patterns=(
            # until Linux 6.18: ... at f.c:1 fn+0x1/0x2
            rf"WARNING: CPU: \d+ PID: \d+ at (?!\S+ {_OF_OUR_HARDWARE})\S+",
            # since 6.19: f.c:1 at fn+0x1/0x2, CPU#0: comm/pid
            rf"WARNING: (?:\S+:\d+ )?at (?!{_OF_OUR_HARDWARE})[^,]+, CPU#\d+: ",
        ),
        context=12,
    ),
    Rule(
        "kernel-lockdep",
        "The kernel's lock checker found a way to deadlock or a misused lock.",
        "The two chains of locks are in the lines after it.",
        needles=("WARNING: ",),
        patterns=(
            r"WARNING: (?:possible \w+ locking|possible irq lock|inconsistent lock|suspicious RCU|bad unlock balance)",
            r"WARNING: (?:bad contention|nested lock|held lock freed|lock held when|still has locks held)",
            r"WARNING: (?:HARD|SOFT)IRQ-safe",
        ),
        context=15,
    ),
    Rule(
        "kernel-sanitizer",
        "KASAN, KFENCE, KCSAN, KMSAN, UBSAN or kmemleak found a memory error in the kernel.",
        "The report names the access and who allocated the memory.",
        needles=("BUG: K", "UBSAN: ", "new suspected memory leaks"),
        patterns=(r"BUG: (?:KASAN|KFENCE|KCSAN|KMSAN): ", r"UBSAN: ", r"kmemleak: \d+ new suspected memory leaks"),
        context=15,
    ),
    Rule(
        "soft-lockup",
        "A CPU or a work queue did not schedule for a long time.",
        _SLOW_HOST,
        needles=("soft lockup - CPU", "BUG: workqueue lockup"),
        patterns=(r"BUG: soft lockup - CPU", r"BUG: workqueue lockup"),
        context=12,
    ),
    Rule(
        "hard-lockup",
        "A CPU did not even take interrupts.",
        _SLOW_HOST,
        needles=("hard LOCKUP",),
        patterns=(r"[wW]atchdog detected hard LOCKUP on cpu",),
        context=12,
    ),
    Rule(
        "rcu-stall",
        "A CPU held up RCU grace periods.",
        _SLOW_HOST,
        needles=("stall", "gets sufficient CPU time", "kthread starved", "kthread timer"),
        patterns=(
            r"\brcu\w*: (?:INFO: )?\w+ (?:self-)?detected (?:expedited )?stalls? on",
            r"\brcu\w*: \w+ kthread (?:starved|timer)",
            r"\brcu: \s*Unless \w+ kthread gets sufficient CPU time",
        ),
        context=12,
        window=12,
    ),
    Rule(
        "hung-task",
        "A task waited for more than its limit in the kernel, mostly for a disk or a lock.",
        "The trace shows what it waits for.",
        needles=("for more than",),
        patterns=(r"INFO: task .+ blocked (?:in I/O wait )?for more than \d+ seconds",),
        context=12,
    ),
    Rule(
        "page-allocation-failure",
        "The kernel could not get memory that it asked for.",
        "The order and mode are in the message.",
        needles=("page allocation failure",),
        patterns=(r"\S+: page allocation failure: order:\d+",),
        context=6,
    ),
    Rule(
        "machine-check",
        "The hardware, or the hypervisor, reported an error.",
        "Not the operating system's fault, as a rule.",
        needles=("[Hardware Error]",),
        patterns=(r"\[Hardware Error\]: ",),
        context=4,
        window=12,
    ),
    Rule(
        "netdev-watchdog",
        "A network card did not send for a long time.",
        "The driver, the hypervisor or an overloaded host.",
        needles=("NETDEV WATCHDOG",),
        patterns=(r"NETDEV WATCHDOG: .*timed out",),
    ),
    Rule(
        "link-flapping",
        "A network link went up again and again.",
        "As in coreos/bugs issue 2065.",
        needles=("link status up for interface",),
        patterns=(r"link status up for interface [^,]+, enabling it in \d+ ms",),
        minimum=10,
    ),
    Rule(
        "oom",
        "Memory ran out and a process was killed for it.",
        "Give the machine more memory, or look for what grew.",
        needles=("oom-killer", "ut of memory: Kill", "no killable processes", "OOM killer", "due to mem"),
        patterns=(
            r"\S.* invoked oom-killer",
            r"(?:Memory cgroup o|O)ut of memory: Kill(?:ed)? process",
            r"(?:Memory cgroup o|O)ut of memory and no killable processes",
            r"\S+: .*(?:killed by the OOM killer|OOM killer killed)",
            r"Killed \S+ due to memory (?:pressure|used)",
        ),
        senders=("systemd", "systemd-oomd"),
        window=150,
    ),
)

STORAGE_RULES = (
    Rule(
        "io-error",
        "A disk returned an error or went away.",
        "The disk, the hypervisor or the network behind it.",
        needles=("I/O error", "rejecting I/O to offline device", " error, dev "),
        patterns=(  # an absent floppy is no defect
            r"rejecting I/O to offline device",
            r"(?:Buffer )?I/O error,? (?:on )?dev(?:ice)? (?!fd\d)\S+",
            r"critical (?:medium|target|nexus|space allocation) error, dev (?!fd\d)\S+",
        ),
    ),
    Rule(
        "ext4-error",
        "ext4 found its data damaged or could not write.",
        "fsck -n of the disk tells how much is lost.",
        needles=("EXT4-fs", "JBD2: ", "Aborting journal"),
        patterns=(
            r"EXT4-fs (?:error|panic)",
            r"EXT4-fs \([^)]+\): (?:Delayed block allocation failed|Remounting filesystem read-only)",
            r"EXT4-fs \([^)]+\): (?:failed to convert unwritten|This should not happen)",
            r"JBD2: Detected IO errors",
            r"Aborting journal on device",
        ),
        window=10,
    ),
    Rule(
        "xfs-error",
        "XFS found its data damaged or could not write.",
        "xfs_repair -n of the disk tells how much is lost.",
        needles=("XFS (",),
        patterns=(
            r"XFS \([^)]+\): .*(?:[cC]orruption|log I/O error|I/O [eE]rror|run xfs_repair)",
            r"XFS \([^)]+\): (?:Internal error|xfs_do_force_shutdown|Filesystem has been shut down)",
        ),
        window=20,
    ),
    Rule(
        "btrfs-error",
        "Btrfs found its data damaged or could not write.",
        "btrfs check of the disk tells how much is lost.",
        needles=("BTRFS",),
        patterns=(r"BTRFS:? (?:error|critical|alert):? \(device ",),
        window=10,
    ),
    Rule(
        "verity-corruption",
        "A file or block has not the content that its digest promises (fs-verity, dm-verity).",
        "The image was damaged or changed after it was built.",
        needles=("verity",),
        patterns=(r"fs-verity .*FILE CORRUPTED", r"device-mapper: verity: .*is corrupted"),
    ),
)
