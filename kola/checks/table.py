"""All rules together, and the page that documents them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kola.checks.kernel import KERNEL_RULES, STORAGE_RULES
from kola.checks.system import AUDIT_RULES, BOOT_RULES, PROGRAM_RULES, SYSTEMD_RULES

if TYPE_CHECKING:
    from kola.checks.rule import Rule

RULES: dict[str, Rule] = {
    rule.id: rule for rule in (*KERNEL_RULES, *STORAGE_RULES, *BOOT_RULES, *SYSTEMD_RULES, *PROGRAM_RULES, *AUDIT_RULES)
}
"""Every rule by its id, in the order of the documentation."""

_HEAD = """\
# Checks on every machine

After every test kola reads the console, the journal, the audit log and the state of the units of each machine that the
test used, as far as they are new since the test began. What one of these rules finds there fails the test. In the
journal a rule believes the kernel and the program whose message it is: a test that logs or greps for such words finds
nothing. One event in several logs is reported once, and repetitions are counted.

A test that provokes such an event on purpose skips the rule and says why:

```python
@pytest.mark.kola(isolation="fresh", skip_checks={"kernel-panic": "crashes the kernel to test kdump"})
```

| rule | looks at | what it means | what to do |
|---|---|---|---|
"""
_FOOT = "\nMade by `python -m kola.checks`; a unit test keeps it equal to the table in the code.\n"


def render_table() -> str:
    """Return the rules as the Markdown text of ``docs/checks.md``."""
    rows = (f"| `{r.id}` | {', '.join(r.where)} | {r.description} | {r.hint} |\n" for r in RULES.values())
    return _HEAD + "".join(rows) + _FOOT
