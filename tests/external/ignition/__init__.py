"""Ignition: what a config asks for is there after the first boot, once; what it must not accept stops the machine.

A root on LUKS bound to a TPM is written for images whose initramfs has Clevis; it has not been run, as the test OS's lacks it.

Most tests look at one machine (``config.CONFIG``), or at clones of it.
"""
