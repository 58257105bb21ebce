"""The gate is open, one thing is changed, and it is closed for that reason and no other: a table of all conditions."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from kola.cincinnati import Rollout
from kola.gate.findings import Code
from kola.results import ImageRecord, Outcome, Share
from tests.unit.gate.closing import (
    ONE,
    TWO,
    Case,
    cut_short,
    data_of,
    edges,
    empty_share,
    flaky,
    forget,
    from_stable,
    graph,
    idle,
    job,
    junk_between,
    larger,
    machines,
    missing_share,
    moved,
    no_machines,
    no_tests,
    not_booted,
    not_run,
    nothing_there,
    only_warned,
    outcome,
    parent,
    released,
    silent,
    sizeless,
    slowed,
    slower_and_slower,
    steps,
    text_of,
    two_deployments,
    two_flaky,
    unfinished,
    unsigned_past,
    update,
    waive,
    warned,
    without,
)
from tests.unit.gate.world import (
    AWS,
    BASIC,
    BUILD,
    COMMIT,
    EARLIER,
    PARENT,
    PARENT_COMMIT,
    World,
    good_releases,
    record_of,
    with_deployment,
    with_image,
    with_test,
)

CASES = (
    Case("every test only warned", Code.NO_TESTS, "not one test passed: 3 warned", job(BASIC, only_warned)),
    Case("flaky again, with junk between", Code.FLAKY_AGAIN, "in 3 of the last 4 builds", junk_between),
    Case(
        "nothing of the other stream", Code.TOO_FEW, "in 0 earlier builds of next; 3 are needed",
        lambda w: shutil.rmtree(w.folder / "history/next"),
    ),
    Case(
        "another accelerator", Code.TOO_FEW, "measured on tcg in 0 earlier builds of testing",
        job(BASIC, lambda r: replace(r, targets=[replace(r.targets[0], accelerator="tcg")])),
    ),
    Case("no boot measured", Code.TOO_FEW, "no boot was measured; in 4 earlier", job(BASIC, not_booted)),
    Case("no size", Code.IMAGE_SIZE, "does not say the size", lambda w: sizeless(w, BUILD)),
    Case("no size before", Code.TOO_FEW, "known of 2 earlier builds", lambda w: sizeless(w, PARENT, EARLIER[0])),
    Case("no machines", Code.DIGEST, "no machine says", job(BASIC, no_machines)),
    Case(
        "machines that never came up", Code.DIGEST, "3 tests passed without a machine that was up",
        job(BASIC, lambda r: machines(with_deployment(r, ""), up=None)),
    ),
    Case(
        "machines of another deployment than the target's", Code.DIGEST, f"had booted {'f' * 64}, the target says",
        job(BASIC, lambda r: machines(r, deployment="f" * 64)),
    ),
    Case(
        "tests of unknown machines", Code.DIGEST, "1 tests name machines that are not in the record",
        job(BASIC, lambda r: with_test(r, machines=["x"])),
    ),
    Case(
        "a test without its machine", Code.DIGEST, "1 tests passed without a machine",
        job(BASIC, lambda r: with_test(r, machines=[], isolation="shared")),
    ),
    Case("updated to nobody knows what", Code.DIGEST, "or was updated to it", update(arrived="")),
    Case("updated to something else", Code.DIGEST, "machines were updated to ffff", update(arrived="f" * 64)),
    Case(
        "updated to something else, and one idle machine of the build", Code.DIGEST, "machines were updated to ffff",
        update(idle, arrived="f" * 64),
    ),
    Case(
        "updated where nothing is", Code.DIGEST, "the target names none",
        job(BASIC, lambda r: machines(idle(r), updated=True, arrived=COMMIT)),
    ),
    Case("an empty share that was killed", Code.INCOMPLETE, "exit code 137", lambda w: empty_share(w, 137)),
    Case("an empty share that failed", Code.INCOMPLETE, "exit code 1,", lambda w: empty_share(w, 1)),
    Case(
        "a failed test explains no other code", Code.INCOMPLETE, "exit code 137",
        steps(outcome(Outcome.FAILED, 137), lambda w: waive(w, ("failed", f"{BASIC}::basic.py::test_a"))),
    ),
    Case(
        "a failing provider explains no failure", Code.INCOMPLETE, "exit code 1,",
        steps(
            outcome(Outcome.PROVIDER_ERROR, 1),
            lambda w: waive(w, ("provider-error", f"{BASIC}::basic.py::test_a")),
        ),
    ),
    Case(
        "only the build in the graph", Code.GRAPH_NODE, "no node 42.0, which was released", graph(lambda r: r[-1:]),
        "rollout",
    ),
    Case("the parent is not in the graph", Code.GRAPH_NODE, "no node 42.2", graph(lambda r: [*r[:3], r[4]]), "rollout"),
    Case(
        "another commit of an earlier release", Code.GRAPH_NODE, f"42.1 as {'f' * 64}, released as {'3' * 64}",
        graph(lambda r: [*r[:2], replace(r[2], checksum="f" * 64), *r[3:]]), "rollout",
    ),
    Case(
        "no metadata where it should be", Code.METADATA, "no meta.json",
        lambda w: shutil.rmtree(w.folder / "builds" / BUILD),
    ),
    Case("metadata of another build, results", Code.METADATA, "of build 42.9", lambda w: w.write_meta(buildid="42.9")),
    Case("nothing of an architecture, waived", Code.UNTESTED, "no required cell has results", nothing_there),
    Case("cut short, stale", Code.STALE, "hours old", lambda w: cut_short(w, lambda r: moved(r, -3 * 86400))),
    Case(
        "killed, stale", Code.STALE, "hours old",
        steps(lambda w: unfinished(w, -3 * 86400), lambda w: waive(w, ("incomplete", BASIC))),
    ),
    Case("cut short, fewer tests", Code.SHRUNK, "1 of 3 tests ran", lambda w: cut_short(w, lambda r: without(r, 1))),
    Case("cut short, flaky", Code.FLAKY_BUDGET, "2 tests are flaky", lambda w: cut_short(w, two_flaky)),
    Case("cut short, slower", Code.BOOT_TIME, "35.0 s", lambda w: cut_short(w, slowed)),
    Case(
        "a missing share, waived, the other smaller", Code.SHRUNK, "1 of 3 tests ran",
        steps(missing_share, job(TWO, lambda r: without(r, 1))),
    ),
    Case(
        "a missing share, waived, the other flaky", Code.FLAKY_BUDGET, "2 tests are flaky",
        steps(missing_share, job(TWO, two_flaky)),
    ),
    Case("missing cell", Code.MISSING, "there are no results", lambda w: shutil.rmtree(w.job(BASIC))),
    Case("missing share", Code.MISSING, "no results", lambda w: shutil.rmtree(w.job(ONE))),
    Case("missing file", Code.MISSING, "no results", lambda w: (w.job(BASIC) / "results.json").unlink()),
    Case("truncated", Code.UNREADABLE, "not a whole JSON", lambda w: text_of(w, "results.json", lambda t: t[:-9])),
    Case("empty file", Code.UNREADABLE, "not a whole JSON", lambda w: text_of(w, "results.json", lambda _: "")),
    Case("unknown schema", Code.UNREADABLE, "schema 3 is not known", lambda w: data_of(w, schema=3)),
    Case("counts that lie", Code.UNREADABLE, "contradicts itself", lambda w: data_of(w, tests=[])),
    Case("unsigned", Code.UNSIGNED, "no results.intoto", lambda w: (w.job(BASIC) / "results.intoto.jsonl").unlink()),
    Case(
        "signed by a stranger", Code.SIGNATURE, "not signed by 1 of the 1",
        lambda w: w.store(record_of(BASIC, BUILD, w.started(BUILD)), signed_by="stranger.pem"),
    ),
    Case("changed after signing", Code.SIGNATURE, "about another results.json", lambda w: data_of(w, exit_code=77)),
    Case("statement cut off", Code.SIGNATURE, "no DSSE", lambda w: text_of(w, "results.intoto.jsonl", lambda t: t[:9])),
    Case(
        "statement of another job", Code.SIGNATURE, "about another results.json",
        lambda w: shutil.copy(w.job(ONE) / "results.intoto.jsonl", w.job(BASIC)),
    ),
    Case(
        "twice", Code.DUPLICATE, "is in copy",
        lambda w: shutil.copytree(w.job(BASIC), w.results / "copy"),
    ),
    Case(
        "run again beside", Code.DUPLICATE, "another of the same name, is in copy",
        lambda w: w.store(replace(record_of(BASIC, BUILD, w.started(BUILD)), run_id="again"), job="copy"),
    ),
    Case("another name", Code.MISPLACED, "name is x", job(BASIC, lambda r: replace(r, name="x"))),
    Case("no name", Code.MISPLACED, "name is not given", job(BASIC, lambda r: replace(r, name=""))),
    Case("another suite", Code.MISPLACED, "suites is ['x']", job(BASIC, lambda r: replace(r, suites=["x"]))),
    Case(
        "another platform", Code.MISPLACED, "platform is gcp, expected qemu",
        job(BASIC, lambda r: replace(r, targets=[replace(r.targets[0], platform="gcp")])),
    ),
    Case(
        "another architecture", Code.MISPLACED, "architecture is s390x",
        job(BASIC, lambda r: replace(r, targets=[replace(r.targets[0], arch="s390x")])),
    ),
    Case(
        "another firmware", Code.MISPLACED, "firmware is uefi-secure, expected bios",
        job(BASIC, lambda r: replace(r, targets=[replace(r.targets[0], firmware="uefi-secure")])),
    ),
    Case(
        "updated from something", Code.MISPLACED, "image to update from is x, expected none",
        job(BASIC, lambda r: replace(r, targets=[replace(r.targets[0], from_image=ImageRecord("x"))])),
    ),
    Case("not updated from what it should be", Code.MISPLACED, "image to update from is not given", from_stable),
    Case(
        "a choice of the tests", Code.INCOMPLETE, "2 tests were deselected",
        job(BASIC, lambda r: replace(r, deselected=2)),
    ),
    Case("no target", Code.MISPLACED, "about 0 targets", job(BASIC, lambda r: replace(r, targets=[]))),
    Case("a share only", Code.MISPLACED, "share is (1, 2)", job(BASIC, lambda r: replace(r, shard=Share(1, 2)))),
    Case("another share", Code.MISPLACED, "share is (2, 3)", job(ONE, lambda r: replace(r, shard=Share(2, 3)))),
    Case(
        "shares of two versions", Code.INCOMPLETE, "has version 1 of kola, not 2",
        job(ONE, lambda r: replace(r, kola_version="2")),
    ),
    Case("killed", Code.INCOMPLETE, "did not come to its end", unfinished),
    Case(
        "cut short", Code.INCOMPLETE, "cut short (exit code 2)",
        job(BASIC, lambda r: replace(r, complete=False, exit_code=2)),
    ),
    Case("exit code", Code.INCOMPLETE, "exit code 1, and no test", job(BASIC, lambda r: replace(r, exit_code=1))),
    Case("another build", Code.BUILD, "of build 42.2", job(BASIC, lambda r: with_image(r, build_id=PARENT))),
    Case("no build", Code.BUILD, "of build unknown", job(BASIC, lambda r: with_image(r, build_id=""))),
    Case("another stream", Code.BUILD, "of stream next", job(BASIC, lambda r: with_image(r, stream="next"))),
    Case("another image", Code.DIGEST, "none of meta.json", job(BASIC, lambda r: with_image(r, sha256="f" * 64))),
    Case("unknown image", Code.DIGEST, "nobody knows", job(BASIC, lambda r: with_image(r, sha256=""))),
    Case("another deployment", Code.DIGEST, "but the build is", job(BASIC, lambda r: with_deployment(r, "e" * 64))),
    Case("unknown deployment", Code.DIGEST, "1 of 1 machines did not", job(BASIC, lambda r: with_deployment(r, ""))),
    Case("a silent machine", Code.DIGEST, "1 of 2 machines did not say", job(BASIC, silent)),
    Case("two deployments", Code.DIGEST, "different deployments", job(BASIC, two_deployments)),
    Case("stale", Code.STALE, "hours old; allowed: 48", job(BASIC, lambda r: moved(r, -3 * 86400))),
    Case("from the future", Code.STALE, "in the future", job(BASIC, lambda r: moved(r, 86400))),
    Case("failed", Code.FAILED, "why", outcome(Outcome.FAILED)),
    Case("provider error", Code.PROVIDER_ERROR, "why", outcome(Outcome.PROVIDER_ERROR, 75)),
    Case("not run", Code.NOT_RUN, "why", not_run),
    Case("warned", Code.WARNED, "why", warned),
    Case("no tests", Code.NO_TESTS, "there are none", no_tests),
    Case("all skipped", Code.NO_TESTS, "3 skipped", lambda w: no_tests(w, skipped=True)),
    Case("a test fewer", Code.SHRUNK, "1 of 3 tests ran for 42.2", job(BASIC, lambda r: without(r, 1))),
    Case("a test skipped", Code.SHRUNK, "1 of 3", outcome(Outcome.SKIPPED, 0)),
    Case("flaky tests", Code.FLAKY_BUDGET, "2 tests are flaky; allowed: 1", job(BASIC, two_flaky)),
    Case("flaky again", Code.FLAKY_AGAIN, "in 3 of the last 4 builds", lambda w: flaky(w, BUILD, PARENT, EARLIER[1])),
    Case("slower boot", Code.BOOT_TIME, "35.0 s; median of 4 builds of testing: 20.0", job(BASIC, slowed)),
    Case(
        "slower boot, as builds that were held had it", Code.BOOT_TIME, "35.0 s; median of 4 builds of testing: 20.0",
        slower_and_slower,
    ),
    Case("slower test", Code.TEST_TIME, "40.0 s", job(BASIC, lambda r: with_test(r, phases={"call": 40.0}))),
    Case("larger image", Code.IMAGE_SIZE, "1000.0 MiB", larger),
    Case(
        "no history", Code.NO_HISTORY, "compare the suites with: the last release is 42.2",
        lambda w: forget(w, *EARLIER), also=Code.TOO_FEW,
    ),
    Case("the last release is not there", Code.NO_HISTORY, "no results of a promoted", lambda w: forget(w, PARENT)),
    Case("unsigned history", Code.NO_HISTORY, "42.2 has no results", unsigned_past),
    Case(
        "no metadata", Code.METADATA, "no meta.json", lambda w: shutil.rmtree(w.folder / "builds" / BUILD),
        "pre-release",
    ),
    Case(
        "metadata of another build", Code.METADATA, "of build 42.9", lambda w: w.write_meta(buildid="42.9"),
        "pre-release",
    ),
    Case(
        "metadata of another stream", Code.METADATA, "of stream next",
        lambda w: w.write_meta(ref="fedora/x86_64/coreos/next"), "pre-release",
    ),
    Case(
        "another parent", Code.PARENT, "the last release is 42.2", lambda w: parent(w, "42.1", "d" * 64), "pre-release",
    ),
    Case("no parent", Code.PARENT, "follows nothing", lambda w: parent(w, "", ""), "pre-release"),
    Case(
        "another parent's commit", Code.PARENT, "follows commit", lambda w: parent(w, PARENT, "f" * 64), "pre-release",
    ),
    Case("released already", Code.PARENT, "among the releases", released, "pre-release"),
    Case("not released", Code.PARENT, "the last release is 42.2", lambda w: w.write_releases(*EARLIER), "rollout"),
    Case("not in the graph", Code.GRAPH_NODE, "no node 42.3", graph(lambda r: r[:-1]), "rollout"),
    Case("an empty graph", Code.GRAPH_NODE, "no node 42.3", graph(lambda _: []), "rollout"),
    Case(
        "another commit in the graph", Code.GRAPH_NODE, "offers commit",
        graph(lambda r: [*r[:-1], replace(r[-1], checksum="f" * 64)]), "rollout",
    ),
    Case("a dead end", Code.GRAPH_NODE, "dead end", graph(lambda r: [*r[:-1], replace(r[-1], deadend="")]), "rollout"),
    Case("no edges", Code.GRAPH_EDGES, "no update from 42.0, 42.1, 42.2", edges(lambda _: []), "rollout"),
    Case(
        "an edge fewer", Code.GRAPH_EDGES, "no update from 42.2", edges(lambda e: [x for x in e if x != [3, 4]]),
        "rollout",
    ),
    Case("past the barrier", Code.GRAPH_EDGES, "an update from 41.9", edges(lambda e: [*e, [0, 4]]), "rollout"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_closed(world: World, capsys: pytest.CaptureFixture[str], case: Case) -> None:
    if case.phase == "rollout":
        released(world)
    assert world.exit_code(case.phase, "--json") == 0, capsys.readouterr().out
    capsys.readouterr()
    case.close(world)
    assert world.exit_code(case.phase, "--json") == 1
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["verdict"] == "hold"
    assert {reason["code"] for reason in verdict["reasons"]} == {case.code, case.also or case.code}, verdict["reasons"]
    assert case.text in " | ".join(reason["text"] for reason in verdict["reasons"])


def young(world: World) -> None:
    """The stream can do without a history."""
    world.write("gate.toml", (world.folder / "gate.toml").read_text() + "history_required = false\n")


def test_every_condition_is_in_the_table() -> None:
    assert {case.code for case in CASES} == set(Code)


def test_no_box_is_ticked_of_what_is_not_there(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    nothing_there(world)
    assert world.exit_code("pre-release", "--checklist", "-") == 1
    lines = capsys.readouterr().out.splitlines()
    assert "  - there is nothing to look at" in lines
    assert [line for line in lines if line.startswith("- [x]")] == [
        "- [x] meta.json is of this build and stream for every architecture",
        "- [x] The build follows the last release of the stream",
        f"- [x] {AWS} (informs): 3 passed",
    ]


def test_a_cell_that_only_informs_holds_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(world.job(AWS))
    assert world.exit_code("pre-release", "--json") == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["reasons"] == []
    assert [(found["code"], found["subject"]) for found in verdict["informing"]] == [("missing", AWS)]
    assert [cell["state"] for cell in verdict["cells"]] == ["passed", "passed", "failed"]


@pytest.mark.parametrize("commit", [PARENT_COMMIT, "f" * 64])
@pytest.mark.parametrize("waived", [False, True])
def test_cells_of_one_architecture_have_one_deployment(
    world: World, capsys: pytest.CaptureFixture[str], commit: str, *, waived: bool
) -> None:
    """Also where nobody says which it should be: the cells give each other away."""
    young(world)
    question = ("--builds", "")
    assert world.exit_code("results", *question) == 0, capsys.readouterr().out
    if waived:
        cut_short(world, lambda r: with_deployment(r, commit))
    else:
        world.change(BASIC, lambda r: with_deployment(r, commit))
    assert world.exit_code("results", *question) == 1
    assert "had booted another deployment than" in capsys.readouterr().out


def test_a_cell_whose_machines_were_all_updated(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    update(arrived=COMMIT)(world)
    assert world.exit_code("pre-release") == 0, capsys.readouterr().out


def test_a_rollout_is_what_the_graph_of_the_rules_has(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A graph of which the build is itself a barrier, and one in which other releases are rolled out."""
    released(world)
    old = good_releases()
    for releases in (
        [*old[:-1], replace(old[-1], barrier="")],
        [*old[:2], replace(old[2], rollout=Rollout()), *old[3:]],
    ):
        world.write_graph(*releases)
        assert world.exit_code("rollout") == 0, capsys.readouterr().out


def test_two_required_cells_with_an_informing_one_before(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of the three had booted something else; which one is right nobody says."""
    young(world)
    head, cells = world.read("matrix.toml").split("[[cells]]", 1)
    *required, informing = f"[[cells]]{cells}".split("[[cells]]")[1:]
    world.write("matrix.toml", "[[cells]]".join([head, informing, *required]))
    for number, name in enumerate((AWS, BASIC), 1):
        world.change(name, lambda r, n=number: with_deployment(r, str(n) * 64))  # type: ignore[misc]
    assert world.exit_code("results", "--builds", "") == 1
    assert f"digest: {ONE[:-5]}: had booted another deployment than {BASIC}" in capsys.readouterr().out


def test_junk_does_not_hide_that_a_suite_shrank(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where no history is required, and nobody says what was released."""
    young(world)
    world.change(BASIC, lambda r: without(r, 1))
    nobody = ("--releases", "")
    assert world.exit_code("results", *nobody) == 1
    assert f"shrunk: {BASIC}" in capsys.readouterr().out
    world.store(record_of(BASIC, "junk", world.started(BUILD) - 60), "junk", signed_by="")
    assert world.exit_code("results", *nobody) == 1
    output = capsys.readouterr().out
    assert f"shrunk: {BASIC}" in output
    assert f"nobody says which builds were released: the last one counts as that, {PARENT}" in output


def test_what_could_not_be_compared_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    young(world)
    unsigned_past(world)
    assert world.exit_code() == 0
    assert f"informs:\n  no-history: {BASIC}: the promoted build 42.2 has no results" in capsys.readouterr().out
