"""Ignition: what a config asks for is there after the first boot, once; what it must not accept stops the machine.

A root on LUKS bound to a TPM is for images with Clevis in the initramfs. The test OS has none: that has not been run.

Most tests look at one machine (``config.CONFIG``), or at clones of it.
"""
