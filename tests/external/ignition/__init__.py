"""Ignition: what a config asks for is there after the first boot, once; what it must not accept stops the machine.

Most tests look at one machine (``config.CONFIG``), or at clones of it.
"""
