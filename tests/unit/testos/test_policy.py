import pytest
from builder.errors import BuildError
from builder.policy import with_aliases, with_open_pipes


def test_aliases_of_etc_hold_for_usr_etc_too() -> None:
    known = "# comment\n/bin /usr/bin\n/etc/systemd/system /usr/lib/systemd/system\n"
    assert with_aliases(known, "/usr/etc /etc\n").splitlines() == [
        *known.splitlines(),
        "/usr/etc/systemd/system /usr/lib/systemd/system",
        "/usr/etc /etc",
    ]


CONSTRAINT = "(mlsconstrain ({} (ioctl read write open)) (or (dom h1 h2) (neq t1 mcs_constrained_type)))\n"


def test_only_pipes_are_opened_to_containers() -> None:
    base = CONSTRAINT.format("file") + CONSTRAINT.format("fifo_file")
    assert with_open_pipes(base) == CONSTRAINT.format("file") + (
        "(mlsconstrain (fifo_file (ioctl read write open)) "
        "(or (or (dom h1 h2) (neq t1 mcs_constrained_type)) (eq t2 domain)))\n"
    )


def test_another_policy_than_the_known_one_is_refused() -> None:
    with pytest.raises(BuildError, match="has 0 constraints"):
        with_open_pipes(CONSTRAINT.format("file"))
