"""Ignition: what a config asks for is there after the first boot, once; what it must not accept stops the machine.

A root on LUKS bound to a TPM is written for machines that have one; it has not been run, as those of qemu have none.

Most tests look at one machine (``config.CONFIG``), or at clones of it.
"""
