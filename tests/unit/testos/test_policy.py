from builder.policy import with_aliases


def test_aliases_of_etc_hold_for_usr_etc_too() -> None:
    known = "# comment\n/bin /usr/bin\n/etc/systemd/system /usr/lib/systemd/system\n"
    assert with_aliases(known, "/usr/etc /etc\n").splitlines() == [
        *known.splitlines(),
        "/usr/etc/systemd/system /usr/lib/systemd/system",
        "/usr/etc /etc",
    ]
