"""What a job's tests are: their files, what these import, the configuration above them."""

from __future__ import annotations

from pathlib import Path

from kola.jobs.suite import digest_of
from kola.matrix import Suite


def test_the_tests_and_the_configuration_are_part_of_the_subject(tmp_path: Path) -> None:
    suite = Suite("basic", paths=("tests/basic",))
    files = ("tests/basic/test_a.py", "tests/basic/data/x", "pytest.ini", "tests/conftest.py")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    digests = {digest_of(suite, tmp_path)}
    for name in files:
        (tmp_path / name).write_text("changed")
        digests.add(digest_of(suite, tmp_path))
    (tmp_path / "tests/other.py").write_text("of another suite")
    (tmp_path / "tests/basic/__pycache__").mkdir()
    (tmp_path / "tests/basic/__pycache__/x.pyc").write_text("made by Python")
    digests.add(digest_of(suite, tmp_path))
    assert len(digests) == 1 + len(files)


def test_what_the_tests_import_is_part_of_the_subject_too(tmp_path: Path) -> None:
    """Wherever it is in the tree, and however it is written; not what nobody imports, nor the harness."""
    sources = {
        "tests/__init__.py": "",
        "tests/basic/__init__.py": "",
        "tests/basic/test_a.py": "from tests.other import podman\nfrom ..common import wait\nimport kola.wait, helper",
        "tests/basic/data.py": "no Python",
        "tests/other/__init__.py": "import tests.more",
        "tests/other/podman.py": "def f():\n    from tests.other.images import name",
        "tests/other/images.py": "",
        "tests/common.py": "",
        "tests/more.py": "",
        "helper.py": "",
    }
    nobodys = {"tests/other/test_b.py": "", "kola/wait.py": ""}
    for name, source in {**sources, **nobodys}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    suite = Suite("basic", paths=("tests/basic",))
    before = digest_of(suite, tmp_path)
    changed = []
    for name, source in {**sources, **nobodys}.items():
        (tmp_path / name).write_text(source + "\nx = 1\n")
        if digest_of(suite, tmp_path) != before:
            changed.append(name)
        (tmp_path / name).write_text(source)
    assert changed == list(sources)
