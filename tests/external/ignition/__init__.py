"""Ignition: what a config asks for is there after the first boot, once; what it must not accept stops the machine.

The tests of remote configs, refusals, kernel arguments, LUKS and RAID are written, but have not been run yet.

Most tests look at one machine (``config.CONFIG``), or at clones of it.
"""
