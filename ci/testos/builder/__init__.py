"""Builds the test OS: a small OSTree system from Debian packages that behaves like Fedora CoreOS where kola looks."""
