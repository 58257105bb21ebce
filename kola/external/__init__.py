"""Tests in the format of kola: shell scripts and other programs that run on the machine itself."""
