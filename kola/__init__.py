"""kola: a pytest plugin that boots Fedora CoreOS machines and tests them over SSH."""

__version__ = "0.1.0"
