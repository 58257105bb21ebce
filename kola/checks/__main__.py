"""``python -m kola.checks > docs/checks.md``."""

import sys

from kola.checks.table import render_table

sys.stdout.write(render_table())
