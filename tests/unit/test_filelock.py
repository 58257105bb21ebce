"""Locks between processes: exclusive or shared, and free as soon as they are released or their holder is dead."""

import contextlib
import gzip
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kola.clonecache import CloneCache, Limits
from kola.filelock import FileLock
from kola.imagefile import inspect, unpack


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def free(path: Path, *, shared: bool = False) -> bool:
    with FileLock(path) as other:
        return other.try_take(shared=shared)


@contextlib.contextmanager
def forked_child() -> Iterator[int]:
    """Have a child that was forked and has not come to its exec yet: all open files are its own, too."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_one_has_it_or_many_share_it(path: Path) -> None:
    with FileLock(path) as lock:
        assert free(path), "nobody has taken it"
        lock.take()
        assert not free(path)
        assert not free(path, shared=True)
        lock.take(shared=True)
        assert free(path, shared=True)
        assert not free(path)
        assert lock.try_take()
        assert not free(path, shared=True)
    assert free(path)


def test_who_shares_it_cannot_have_it_alone(path: Path) -> None:
    with FileLock(path) as one, FileLock(path) as two:
        assert one.try_take(shared=True)
        assert two.try_take(shared=True)
        assert not one.try_take()
        assert two.try_take(), "the attempt has cost the first one its share"


def test_released_again_does_nothing(path: Path) -> None:
    with FileLock(path) as lock:
        lock.take()
        lock.release()
        lock.release()
        assert free(path)


def test_what_a_dead_process_held_is_free(path: Path) -> None:
    with FileLock(path) as lock:
        lock.take()
        with forked_child():
            lock._file.close()  # as if only the child had it
            assert not free(path)
        assert free(path)


def test_a_forked_child_does_not_keep_what_was_released(path: Path) -> None:
    with FileLock(path) as lock:
        lock.take()
        with forked_child():
            lock.release()
            assert free(path)


def test_a_forked_child_does_not_keep_a_saved_machine_locked(tmp_path: Path) -> None:
    cache = CloneCache(tmp_path / "clones", Limits())
    with contextlib.ExitStack() as child:
        with cache.claim("key", lambda _: None) as claim:
            child.enter_context(forked_child())
            assert claim.draft is not None
            claim.commit({})
        assert CloneCache(cache.folder, Limits(age_days=-1)).collect() != [], "it cannot be removed"


def test_a_forked_child_does_not_keep_an_image_locked(tmp_path: Path) -> None:
    packed = tmp_path / "disk.gz"
    packed.write_bytes(gzip.compress(bytes(4096)))
    with contextlib.ExitStack() as children:

        def fork(_what: str, _done: int, _total: int) -> None:
            children.enter_context(forked_child())

        unpacked = unpack(packed, inspect(packed, tmp_path), tmp_path, fork)
        assert free(unpacked.parent / ".lock")
