"""One driver a module: ``--platform=NAME`` loads ``platforms.NAME``; drivers never import each other."""
