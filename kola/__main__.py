"""``python -m kola``: the same as ``kola``."""

import sys

from kola.cli import main

sys.exit(main())
