"""What every cloud driver must do beside what all platforms do; a subclass a cloud (``NAME``), collected where it is.

Every call of the SDK goes over HTTP to a rehearsed cloud. Only one call is known by name: ``CREATE`` makes a machine.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from kola.cli import main
from kola.errors import ConfigError, KolaError, PlatformError
from kola.imagefile import FORMATS
from kola.platform import Prepared, Scope
from kola.retry import Backoff, Caller
from kola.spec import Disk, MachineSpec
from kola.wait import wait_until
from rehearsal.faults import Trouble
from tests.cloud.conftest import Cloud
from tests.contract import IGNITION, PlatformContract
from tests.unit.image_files import in_form, qemu_img

MACHINE = "kola-run1-gw0-1"
SPEC = MachineSpec()
RUN = Scope("Release.Team", "run1")
VICTIM = Path(__file__).with_name("victim.py")


class CloudContract(PlatformContract):
    """Tests of one driver."""

    NAME: ClassVar[str]
    CREATE: ClassVar[str]
    CALLS: ClassVar[int]
    """How many a machine takes, that comes up at once."""

    def round_trip(self, cloud: Cloud, prepared: Prepared | None = None) -> None:
        """Prepare, launch one machine and end it, as a run with one worker."""
        if prepared is None:
            prepared = cloud.driver(worker="main").prepare(cloud.published)
        with cloud.driver().launch(SPEC, IGNITION, MACHINE, prepared) as instance:
            assert instance.lost() is None

    # -- all is well -------------------------------------------------------------------------------------------------

    def test_a_machine_from_preflight_to_nothing(self, cloud: Cloud) -> None:
        controller = cloud.driver(worker="main")
        prepared = controller.prepare(cloud.published)
        assert prepared.accelerator == "cloud"
        assert prepared.image_ref == cloud.rehearsal.images[0]
        with cloud.driver().launch(SPEC, IGNITION, MACHINE, prepared) as instance:
            (machine,) = cloud.rehearsal.host.machines.values()
            assert machine.user_data == IGNITION
            assert (instance.address, instance.port) == (machine.address, cloud.rehearsal.host.ssh_port)
            assert instance.lost() is None
            assert instance.console() == ""
            found = controller.find(RUN)
            mine = {one.id: one.tags for kind in found.values() for one in kind}
            made = [one for one in cloud.left() if not one.startswith("machine")]
            assert sum(map(len, found.values())) >= len(made)  # all is tagged
            tags = mine[instance.id]
            assert tags.name == MACHINE
            assert abs(tags.created - time.time()) < 60
            assert tags.ttl == 24 * 3600
        assert cloud.rehearsal.host.machines == {}
        self.sweep(cloud)
        assert cloud.left() == []
        assert controller.summary()[0].startswith("0.0")

    def test_what_all_machines_share_stays_for_the_others(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        shared = cloud.left()
        with cloud.driver().launch(SPEC, IGNITION, MACHINE, prepared) as instance:
            instance.keep()
        cloud.driver(worker="reaper").sweep(replace(RUN, worker="gw0"))
        assert cloud.left() == shared

    def test_an_image_of_this_host_is_uploaded_once_and_kept_by_digest(self, cloud: Cloud) -> None:
        first = cloud.driver(worker="main").prepare(cloud.local)
        again = cloud.driver(run="run2", worker="main").prepare(cloud.local)
        assert first.image_ref == again.image_ref
        other = cloud.driver(run="run3", worker="main").prepare(replace(cloud.local, sha256="6" * 64))
        assert other.image_ref != first.image_ref
        for run in ("run1", "run2", "run3"):
            cloud.driver(worker="reaper").sweep(Scope("Release.Team", run))
        cloud.driver(worker="reaper").sweep(Scope("Release.Team", older_than=-1))
        cloud.driver(worker="main").check_image(first.image_ref)  # still there: its days are not over
        for run in ("run2", "run3"):  # that used them last
            cloud.driver(worker="reaper").sweep(Scope("Release.Team", run, older_than=-1))
        assert cloud.left() == []

    def test_an_image_goes_when_its_days_are_over(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        cloud.driver(worker="main", image_days="7").prepare(cloud.local)
        self.sweep(cloud)
        images, later = cloud.left(), time.time()
        assert images
        for days, left in ((6.9, images), (7.1, [])):
            clock = SimpleNamespace(time=lambda days=days: later + days * 86400)
            with monkeypatch.context() as then:
                then.setattr("kola.cloud.platform.time", clock)
                cloud.driver(worker="reaper").sweep(Scope("Release.Team", older_than=24 * 3600))
            assert cloud.left() == left

    def test_owners_have_images_of_their_own(self, cloud: Cloud) -> None:
        """Else one's sweep would end the other's, and his own could not find it."""
        theirs = cloud.driver(run="run1", owner="someone", worker="main").prepare(cloud.local)
        before = self.images(cloud, "someone")
        mine = cloud.driver(run="run2", worker="main").prepare(cloud.local)
        assert mine.image_ref != theirs.image_ref
        assert self.images(cloud, "someone") == before
        assert cloud.driver(run="run3", worker="main").prepare(cloud.local).image_ref == mine.image_ref
        cloud.driver(worker="reaper").sweep(Scope("Release.Team", "run3", older_than=-1))
        assert self.images(cloud, "someone") == before
        cloud.driver(worker="main").check_image(theirs.image_ref)

    @staticmethod
    def images(cloud: Cloud, owner: str) -> list[str]:
        """Return what an owner has of images, with all tags."""
        found = cloud.driver(owner=owner).find(Scope(owner, "run1", older_than=-1))
        return sorted(f"{one.id} {one.tags}" for kind in found.values() for one in kind if one.tags.digest)

    @pytest.mark.parametrize("form", list(FORMATS))
    def test_every_form_of_an_image_is_uploaded(self, cloud: Cloud, form: str) -> None:
        """Also what releases have for another cloud: what arrives is the same disk."""
        disk = cloud.folder / "small.raw"
        disk.write_bytes(b"disk" * (1 << 18) + bytes(1 << 20))
        path = in_form(disk, form, cloud.folder)
        image = replace(cloud.local, path=path, format=form, sha256="7" * 64)
        cloud.driver(worker="main", image_days="0").prepare(image)
        arrived = list(cloud.rehearsal.host.images.values())[-1]
        if arrived.exists():  # Google's is gone with its archive
            qemu_img("compare", arrived, disk)
        self.sweep(cloud)
        assert cloud.left() == []

    def test_an_image_for_another_platform_is_not_sent(self, cloud: Cloud) -> None:
        for platform in ("qemu", "openstack"):
            with pytest.raises(ConfigError, match=f"^--image .*: is made for {platform}: on {self.NAME} its Ignition "):
                cloud.driver(worker="main").prepare(replace(cloud.local, platform=platform))
        assert cloud.rehearsal.faults.log == []
        cloud.driver(worker="main").prepare(replace(cloud.local, platform=self.NAME))

    def test_an_image_of_which_nobody_wants_more_goes_with_the_run(self, cloud: Cloud) -> None:
        cloud.driver(worker="main", image_days="0").prepare(cloud.local)
        self.sweep(cloud)
        assert cloud.left() == []

    @pytest.mark.parametrize("size", [3_000, 200_000])
    def test_a_config_over_the_limit(self, cloud: Cloud, size: int) -> None:
        """It is packed, or put where the machine can fetch it, and deleted again."""
        driver = cloud.driver()
        type(driver).user_data_limit = 2_000
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        text = (
            "".join(f"{number * number * 7919 % 1_000_003:x}" for number in range(size // 5))
            if size > 9000
            else "a" * size
        )
        config = b'{"ignition":{"version":"3.0.0"},"x":"' + text.encode() + b'"}'
        with driver.launch(SPEC, config, MACHINE, prepared):
            (machine,) = cloud.rehearsal.host.machines.values()
            assert len(machine.user_data) <= 2_000
            stored = [one for one in cloud.left() if "config.ign" in one]
            assert len(stored) == (1 if size > 9000 else 0)
        assert [one for one in cloud.left() if "config.ign" in one] == []
        self.sweep(cloud)
        assert cloud.left() == []

    def test_extra_disks_go_with_their_machine(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        with cloud.driver().launch(MachineSpec(disks=(Disk(1), Disk(2))), IGNITION, MACHINE, prepared):
            pass
        self.sweep(cloud)
        assert cloud.left() == []

    def test_a_machine_takes_few_calls(self, cloud: Cloud) -> None:
        """From its creation to its end; what is asked once for all does not count."""
        prepared, driver = cloud.driver(worker="main").prepare(cloud.published), cloud.driver()
        log = cloud.rehearsal.faults.log
        for number in range(21):
            with driver.launch(SPEC, IGNITION, f"kola-run1-gw0-{number}", prepared):
                pass
            if number == 0:
                log.clear()
        assert len(log) <= self.CALLS * 20, Counter(log)

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("trouble", "step"),
        [
            (Trouble.DENIED, 6),  # every night it is each call
            pytest.param(Trouble.DENIED, 1, marks=pytest.mark.slow),
            pytest.param(Trouble.LOST, 1, marks=pytest.mark.slow),
        ],
    )
    def test_a_failure_at_any_call_leaves_nothing(self, cloud: Cloud, trouble: Trouble, step: int) -> None:
        """At every call of a run, from the preflight to the end of its machine."""

        def run() -> None:
            prepared = cloud.driver(worker="main", image_days="0").prepare(cloud.local)
            self.round_trip(cloud, prepared)

        faults = cloud.rehearsal.faults
        for _ in range(2):  # the first one makes what stays: a bucket
            faults.clear()
            run()
            calls = list(faults.log)
            self.sweep(cloud)
            assert cloud.left() == []
        failed: list[str] = []
        met = 0
        for index in range(0, len(calls), step):
            faults.clear()
            faults.inject(trouble, after=index)
            try:
                run()
            except KolaError as e:
                failed.append(f"{index} {calls[index]}: {e}")
            # How often a machine is looked at is a matter of time: the last ones may not have been needed.
            assert len(faults.log) > index or index >= len(calls) - 2, f"only {len(faults.log)} calls"
            met += len(faults.log) > index
            faults.clear()
            self.sweep(cloud)
            assert cloud.left() == [], f"after {trouble} at call {index} ({calls[index]})"
        # Only the end of a machine, whose last words may be lost, goes on without an answer.
        if trouble is Trouble.LOST:
            assert failed == []
        else:
            assert len(failed) >= met - 3, failed

    @pytest.mark.slow
    @pytest.mark.parametrize("trouble", [Trouble.THROTTLE, Trouble.ERROR, Trouble.CUT, Trouble.GARBLED])
    def test_what_passes_does_not_hurt_at_any_call(self, cloud: Cloud, trouble: Trouble) -> None:
        faults = cloud.rehearsal.faults
        self.round_trip(cloud)
        calls = len(faults.log)
        self.sweep(cloud)
        for index in range(calls):
            faults.clear()
            faults.inject(trouble, after=index, times=2)
            try:
                self.round_trip(cloud)
            except KolaError as e:
                pytest.fail(f"at call {index} ({faults.log[index]}): {e}")
            self.sweep(cloud)
            assert cloud.left() == []

    def test_no_room_here_but_there(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        cloud.rehearsal.faults.inject(Trouble.CAPACITY, self.CREATE, times=3)
        self.round_trip(cloud, prepared)
        assert sum(1 for call in cloud.rehearsal.faults.log if call == self.CREATE) == 4

    @pytest.mark.parametrize("trouble", [Trouble.CAPACITY, Trouble.QUOTA])
    def test_no_room_anywhere_is_the_providers_failure(self, cloud: Cloud, trouble: Trouble) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        cloud.rehearsal.faults.inject(trouble, self.CREATE, times=10_000)
        with pytest.raises(PlatformError, match=f"machine {MACHINE}: no room anywhere: "):
            self.round_trip(cloud, prepared)
        self.sweep(cloud)
        assert cloud.left() == []

    def test_a_provider_that_is_down_is_given_up(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        cloud.rehearsal.faults.inject(Trouble.ERROR, self.CREATE, times=10_000)
        driver = cloud.driver()
        driver.call = Caller(driver.classify, Backoff(first=0.001, most=0.01, seconds=0.5))
        with pytest.raises(PlatformError, match=r"attempts in \d+ s"), driver.launch(SPEC, IGNITION, MACHINE, prepared):
            pass

    def test_a_token_that_expires_during_the_run_is_the_providers_failure(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        cloud.rehearsal.faults.inject(Trouble.EXPIRED, self.CREATE)
        with pytest.raises(PlatformError, match=r"(?i)expired"):
            self.round_trip(cloud, prepared)
        self.sweep(cloud)
        assert cloud.left() == []

    def test_what_was_just_made_is_not_known_yet(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        cloud.rehearsal.faults.inject(Trouble.MISSING, self.CREATE, times=2)
        self.round_trip(cloud, prepared)

    def test_a_machine_that_takes_its_time(self, cloud: Cloud) -> None:
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        cloud.rehearsal.host.slow_seconds = 0.5
        began = time.monotonic()
        self.round_trip(cloud, prepared)
        assert time.monotonic() - began >= 0.5

    def test_the_wrong_credentials(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        self.break_credentials(monkeypatch)
        with pytest.raises(ConfigError, match="credentials"):
            cloud.driver(worker="main").prepare(cloud.published)
        assert cloud.left() == []

    def test_the_wrong_credentials_of_kola_gc(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.break_credentials(monkeypatch)
        for more in ((), ("--dry-run",)):
            assert main(["gc", *cloud.arguments(), "--older-than=1h", *more]) == 4
            assert "credentials" in capsys.readouterr().err

    def break_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the SDK find credentials that the cloud does not know."""
        raise NotImplementedError

    def test_an_image_that_is_not_there(self, cloud: Cloud) -> None:
        missing = replace(cloud.published, reference="cloud:ami-00000000000000000")
        with pytest.raises(ConfigError, match=r"^--image cloud:ami-00000000000000000: "):
            cloud.driver(worker="main").prepare(missing)

    def test_what_a_killed_process_left_is_removed_by_kola_gc(
        self, cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        others = cloud.driver(run="run9", owner="someone")
        others_prepared = cloud.driver(run="run9", owner="someone", worker="main").prepare(cloud.published)
        with others.launch(SPEC, IGNITION, "kola-run9-gw0-1", others_prepared) as instance:
            instance.keep()
        theirs = cloud.left()
        prepared = cloud.driver(worker="main").prepare(cloud.published)
        order = tmp_path / "order.json"
        order.write_text(
            json.dumps([cloud.rehearsal.name, cloud.rehearsal.options(), dataclasses.asdict(prepared), str(tmp_path)])
        )
        with subprocess.Popen([sys.executable, VICTIM, order], stdout=subprocess.PIPE) as victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == b"up\n"
            victim.kill()
        mine = sorted(set(cloud.left()) - set(theirs))
        assert any(one.startswith("machine ") for one in mine)

        def gc(*more: str) -> str:
            assert main(["gc", *cloud.arguments(), "--kola-cache", str(tmp_path), "--owner=Release.Team", *more]) == 0
            return capsys.readouterr().out

        assert "nothing of Release.Team to clean up" in gc("--older-than=1h")
        wait_until(lambda: time.time() - prepared_at(cloud) > 1.1, 10, interval=0.1)
        told = gc("--older-than=1s", "--dry-run")
        assert told.count("would go") >= len([one for one in mine if not one.startswith("machine ")])
        assert sorted(set(cloud.left()) - set(theirs)) == mine
        assert "removed " in gc("--older-than=1s")
        assert cloud.left() == theirs
        assert main(["gc", *cloud.arguments()]) == 4
        assert "say which age" in capsys.readouterr().err

    @pytest.mark.slow
    def test_three_hundred_machines_and_ten_calls_a_second(self, cloud: Cloud) -> None:
        """All come up and are swept, and no storm: few calls are made that are turned away."""
        controller = cloud.driver(worker="main")
        prepared = controller.prepare(cloud.published)
        driver = cloud.driver()
        driver.call = Caller(driver.classify)
        faults = cloud.rehearsal.faults
        faults.clear()
        faults.limit(10)

        def one(number: int) -> None:
            with driver.launch(SPEC, IGNITION, f"kola-run1-gw0-{number}", prepared):
                pass

        began = time.monotonic()
        with ThreadPoolExecutor(64) as pool:
            list(pool.map(one, range(300)))
        seconds, calls = time.monotonic() - began, len(faults.log)
        assert cloud.rehearsal.host.machines == {}
        faults.limit(0)
        self.sweep(cloud)
        assert cloud.left() == []
        print(f"300 machines in {seconds:.0f} s, {calls} calls")
        assert calls < 1.3 * 10 * seconds


def prepared_at(cloud: Cloud) -> float:
    """Return when the newest thing of run 1 was made, in unix seconds."""
    found = cloud.driver(worker="main").find(RUN)
    return max(one.tags.created for kind in found.values() for one in kind)
