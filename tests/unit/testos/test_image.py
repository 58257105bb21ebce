"""What the test OS says of itself is what kola reads: image.json, and meta.json in coreos-assembler's form."""

import json
from pathlib import Path

from builder.commit import Committed
from builder.definition import Definition
from builder.image import description, metadata
from builder.updates import Updates

from kola.gate.build import ImageFile, parse_build
from kola.imagemetadata import read_description

INSTALLED = Committed("c" * 64, "6.1", "1.2")


def test_the_gate_reads_its_metadata() -> None:
    meta = json.dumps(metadata(Definition(), INSTALLED, "key", "a" * 64, 5)).encode()
    build = parse_build(meta, "meta.json")
    assert (build.build_id, build.arch, build.stream, build.commit) == ("key", "x86_64", "testos", "c" * 64)
    assert build.images["qemu"] == ImageFile(frozenset({"a" * 64}), 5)


def test_both_descriptions_agree(tmp_path: Path) -> None:
    image, meta = tmp_path / "image.json", tmp_path / "meta.json"
    image.write_text(json.dumps(description(Definition(), INSTALLED, Updates((), "1", "2"), "key", "a" * 64)))
    meta.write_text(json.dumps(metadata(Definition(), INSTALLED, "key", "a" * 64, 5)))
    one, other = read_description(image), read_description(meta)
    for key in ("name", "build_id", "arch", "distro", "stream"):
        assert one[key] == other[key], key
