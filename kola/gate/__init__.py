"""May a build be released, may its rollout start: a verdict with every reason, from the results of the matrix.

All of it is pure but ``reading`` (and the command in ``kola.commands.gate``); docs/gate.md. It fails closed: what is
not there, or cannot be believed, holds the release.
"""
