"""The commands of ``kola``, a file each: ``HELP``, ``DESCRIPTION``, ``add_arguments`` and ``run``."""
