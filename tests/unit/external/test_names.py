"""Which names tests have, and which of them are run: folders, patterns, tags, shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kola.errors import ConfigError
from kola.external import tree
from kola.external.choice import Choice
from kola.external.glob import matches
from kola.external.sharding import Shard, fnv1


def write(path: Path, *, executable: bool = True, text: str = "#!/bin/sh\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755 if executable else 0o644)


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    return tmp_path / "my-project" / "tests" / "kola"


def names(root: Path) -> list[str]:
    scan = tree.scan(root)
    return [test.name for test in scan.tests] + [name for folder in scan.folders for name in names(folder)]


def test_names_of_the_reference(tests: Path) -> None:
    write(tests / "top")
    write(tests / "basic" / "noop")
    write(tests / "basic" / "other.sh")
    write(tests / "ignition" / "resource" / "test.sh")
    write(tests / "two" / "test.sh")
    write(tests / "two" / "another")
    write(tests / "three" / "with space")
    write(tests / "three" / "üñï.test")
    write(tests / "config-alone" / "config.ign")
    write(tests / "a" / "b.c" / "d" / "e")
    assert sorted(names(tests)) == sorted(
        [
            "ext.my-project.top",
            "ext.my-project.basic.noop",
            "ext.my-project.basic.other.sh",
            "ext.my-project.ignition.resource",
            "ext.my-project.two.test.sh",
            "ext.my-project.two.another",
            "ext.my-project.three.with space",
            "ext.my-project.three.üñï.test",
            "ext.my-project.config-alone.config.ign",  # executable, so it is a test
            "ext.my-project.a.b.c.d.e",
        ]
    )


def test_what_lies_beside_a_test(tests: Path) -> None:
    write(tests / "t" / "one")
    write(tests / "t" / "config.bu", executable=False, text="")
    write(tests / "t" / "kola.json", executable=False, text="{}")
    write(tests / "t" / "README", executable=False, text="text")
    write(tests / "t" / "forgotten.sh", executable=False)
    write(tests / "t" / "data" / "tool")
    write(tests / "t" / "sub" / "two")
    scan = tree.scan(tests / "t")
    folder = tests / "t"
    assert scan.tests == (
        tree.Found("ext.my-project.t.one", folder / "one", folder / "config.bu", folder / "kola.json", folder / "data"),
    )
    assert scan.doubtful == (folder / "forgotten.sh",)
    assert scan.folders == (folder / "sub",)
    assert tree.scan(tests / "t" / "sub").tests[0].config is None


def test_links(tests: Path) -> None:
    """A program, a folder and the data may be links."""
    write(tests.parent / "elsewhere" / "program")
    write(tests.parent / "shared-data" / "file", executable=False)
    (tests / "t").mkdir(parents=True)
    (tests / "t" / "linked").symlink_to("../../elsewhere/program")
    (tests / "t" / "data").symlink_to("../../shared-data")
    (tests / "folder").symlink_to("../elsewhere")
    assert sorted(names(tests)) == ["ext.my-project.folder.program", "ext.my-project.t.linked"]
    data = tree.scan(tests / "t").tests[0].data
    assert data is not None
    assert (data / "file").is_file()


def test_executable_by_others_counts(tests: Path) -> None:
    write(tests / "mine")
    (tests / "mine").chmod(0o744)
    scan = tree.scan(tests)
    assert (scan.tests, scan.doubtful) == ((), (tests / "mine",))


def test_mistakes(tests: Path) -> None:
    with pytest.raises(ConfigError, match="has no folder tests/kola, so there are no tests in it"):
        tree.tests_of(tests.parent.parent)
    tests.mkdir(parents=True)
    (tests / "loop").symlink_to(".")
    with pytest.raises(ConfigError, match="loop: leads back to "):
        tree.scan(tests)
    (tests / "loop").unlink()
    (tests / "dangling").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="dangling: a link to something that is not there: nowhere"):
        tree.scan(tests)
    (tests / "dangling").unlink()
    write(tests / "config.fcc", executable=False)
    with pytest.raises(ConfigError, match=r"rename it to config.bu"):
        tree.scan(tests)
    (tests / "config.fcc").unlink()
    write(tests / "config.ign", executable=False)
    write(tests / "config.bu", executable=False)
    with pytest.raises(ConfigError, match=r"both config.ign and config.bu"):
        tree.scan(tests)


def test_folder_that_cannot_be_read(tests: Path) -> None:
    tests.mkdir(parents=True)
    os.mkfifo(tests / "pipe")  # neither a test nor an obstacle
    assert tree.scan(tests).tests == ()
    with pytest.raises(ConfigError, match="No such file or directory"):
        tree.scan(tests / "missing")


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*", "ab/c", False),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("a?b", "a☺b", True),
        ("a[^a]b", "a☺b", True),
        ("a???b", "a☺b", False),
        ("[a-ζ]*", "\u03b1", True),
        ("*[a-ζ]", "A", False),
        ("a?b", "a/b", False),
        ("a*b", "a/b", False),
        ("[\\]a]", "]", True),
        ("[\\-]", "-", True),
        ("[x\\-]", "x", True),
        ("[x\\-]", "-", True),
        ("[x\\-]", "z", False),
        ("[\\-x]", "x", True),
        ("[\\-x]", "a", False),
        ("[z-a]", "b", False),
        ("[^z-a]", "b", True),
        ("*[^a]*b", "b/b", False),  # Go does not come back to the first star
        ("*[^a]*b", "/bb", True),
        ("ext.*.basic", "ext.proj.x.basic", True),
        ("basic", "ext.basic", False),
    ],
)
def test_pattern(pattern: str, name: str, *, expected: bool) -> None:
    assert matches(pattern, name) is expected


@pytest.mark.parametrize("pattern", ["[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "a[\\"])
def test_malformed_pattern(pattern: str) -> None:
    with pytest.raises(ConfigError, match="is not a pattern"):
        matches(pattern, "a")


# Of the test vectors that come with the reference implementation of FNV.
@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", 0xCBF29CE484222325), (b"a", 0xAF63BD4C8601B7BE), (b"foobar", 0x340D8765A4DDA9C2)],
)
def test_fnv1(data: bytes, expected: int) -> None:
    assert fnv1(data) == expected


def test_shares() -> None:
    """Every test is in exactly one share."""
    names = [f"ext.config.test{number}" for number in range(200)]
    shares = [[name for name in names if Shard(number, 3).has(name)] for number in (1, 2, 3)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert all(len(share) > 40 for share in shares)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1/2",
        "hash:",
        "hash:0/2",
        "hash:3/2",
        "hash:a/b",
        "hash:1/0",
        "hash:1/2/3",
        "hash:1/\u0663",
        f"hash:1/{'9' * 5000}",
    ],
)
def test_malformed_share(text: str) -> None:
    with pytest.raises(ConfigError, match="expected hash:M/N"):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("choice", "out"),
    [
        (Choice(), []),
        (Choice(patterns=("*",)), []),
        (Choice(patterns=("a",)), ["b", "c"]),
        (Choice(patterns=("a", "b*")), ["c"]),
        (Choice(patterns=("a",), tags=("two",)), ["c"]),  # a name or a tag, as in kola
        (Choice(patterns=("*",), tags=("two",)), ["a", "c"]),
        (Choice(tags=("one",)), ["b", "c"]),
        (Choice(tags=("one", "two")), ["c"]),
        (Choice(tags=("!one",)), ["a"]),
        (Choice(tags=("one", "!one")), ["a", "b", "c"]),
        (Choice(denied=("[ab]",)), ["a", "b"]),
        (Choice(tags=("special",)), ["a", "b", "c"]),
    ],
)
def test_choice(choice: Choice, out: list[str]) -> None:
    tests = {"a": ["one"], "b": ["two"], "c": []}
    assert [name for name, tags in tests.items() if choice.why_not(name, tags)] == out


def test_required_tag() -> None:
    assert Choice().why_not("a", [], "special") == "it runs with --tag special only"
    assert Choice(patterns=("a",)).why_not("a", [], "special") == "it runs with --tag special only"
    assert Choice(tags=("special",)).why_not("a", [], "special") == ""


def test_pattern_that_is_no_tests() -> None:
    Choice(patterns=("a*",)).check({"abc"})
    with pytest.raises(ConfigError, match=r"--test 'x\*': no test has such a name; collected: abc"):
        Choice(patterns=("x*",)).check({"abc"})
    with pytest.raises(ConfigError, match="is not a pattern"):
        Choice(denied=("[",)).check({"abc"})
