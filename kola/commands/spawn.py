"""``kola spawn``: one machine, for a person to log in."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kola import options
from kola.configs import read_given
from kola.flight import Flight
from kola.needs import Isolation, Needs
from kola.progress import Follower
from kola.results import ExitCode
from kola.run import start_run
from kola.spec import DISK_OPTIONS, MachineSpec, parse_bind, parse_disk
from kola.wait import wait_until

if TYPE_CHECKING:
    import argparse

    from kola import ignition
    from kola.progress import Event

HELP = "boot one machine and log in to it"
DESCRIPTION = (
    "Boot one machine, print the SSH line, and open a shell on it; it ends with the shell. Without a terminal, or with "
    "--wait, it runs until Ctrl-C; with --keep it goes on for 24 h or until 'kola gc'."
)
_FOREVER = 365 * 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    config = parser.add_mutually_exclusive_group()
    config.add_argument("--ignition", metavar="FILE", help="its Ignition config")
    config.add_argument("--butane", metavar="FILE", help="its Butane config")
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--wait", action="store_true", help="open no shell; end with Ctrl-C")
    end.add_argument("--keep", action="store_true", help="open no shell; leave it running for 24 h or until 'kola gc'")
    parser.add_argument("--memory", type=int, metavar="MIB", help=f"memory (default: {MachineSpec.memory_mib})")
    parser.add_argument("--disk-size", type=int, metavar="GIB", help="size of its disk (default: the image's)")
    parser.add_argument(
        "--add-disk", action="append", default=[], metavar="SIZE[:OPTIONS]",
        help=f"an empty disk more, such as 5G or 5G:channel=nvme,4k; options: {DISK_OPTIONS}",
    )  # fmt: skip
    for flag, how in (("--bind-ro", "read-only"), ("--bind-rw", "writable")):
        parser.add_argument(
            flag, action="append", default=[], metavar="HOST,GUEST", help=f"mount a folder of this host there, {how}"
        )
    parser.add_argument("--append-kernel-args", default="", metavar="ARGS", help="kernel arguments of every boot")
    parser.add_argument("remote", nargs="*", metavar="COMMAND", help="run this instead of a shell, behind '--'")
    options.add_to(
        parser, "kola_platform", "kola_image", "kola_image_metadata", "kola_image_url", "kola_image_keys",
        "kola_arch", "kola_platform_options", "kola_append_butane", "kola_append_ignition", "kola_debug_systemd_unit",
        "kola_no_clone", "kola_cache", "kola_output", "kola_owner", "kola_memory_budget",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    given = {"kola_platform": "qemu", **{key: value for key, value in vars(args).items() if value is not None}}
    given["kola_keep_machines"] = "always" if args.keep else "never"
    needs = Needs(isolation=Isolation.FRESH, spec=_spec(args), ignition=_config(args))
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(start_run(options.settings_of(given, Path.cwd()), workers=1))
        stack.enter_context(Follower(running.info.output / "progress.jsonl", _say))
        flight = stack.enter_context(Flight(running.info, running.platform, running.reaper.keep))
        reservation = flight.reserve(needs, "spawn")
        stack.callback(lambda: reservation.close(failed=False))
        machine = reservation.launch()
        ssh = machine.ssh_command()
        print(ssh, flush=True)
        if reservation.keep(failed=False):
            print("it runs for 24 h, or until: kola gc", file=sys.stderr)
            return ExitCode.PASSED
        if args.remote:
            return subprocess.run([*shlex.split(ssh), "--", *args.remote], check=False).returncode
        if args.wait or not sys.stdin.isatty():
            wait_until(lambda: machine.instance.lost() is not None, _FOREVER, what="the end of the machine", interval=1)
            return ExitCode.FAILED
        return subprocess.run(shlex.split(ssh), check=False).returncode


def _say(event: Event) -> None:
    print(f"  {event}", file=sys.stderr)


def _spec(args: argparse.Namespace) -> MachineSpec:
    return MachineSpec(
        memory_mib=args.memory or MachineSpec.memory_mib,
        disk_gib=args.disk_size,
        disks=tuple(parse_disk(disk) for disk in args.add_disk),
        binds=tuple(
            parse_bind(bind, read_only=read_only)
            for given, read_only in ((args.bind_ro, True), (args.bind_rw, False))
            for bind in given
        ),
        kernel_args=tuple(args.append_kernel_args.split()),
    )


def _config(args: argparse.Namespace) -> ignition.Config | None:
    if args.butane is not None:
        return read_given("--butane", Path(args.butane), is_butane=True)
    return None if args.ignition is None else read_given("--ignition", Path(args.ignition), is_butane=False)
