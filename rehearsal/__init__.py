"""Clouds on this host: the providers' APIs on loopback, whose machines are real guests with real metadata services.

A driver is rehearsed unchanged: its SDK talks HTTP to a front end (``rehearsal.aws``...), the guest's Ignition to that
provider's metadata service. ``host`` has what a front end needs of machines, ``gate`` stands before it and injects
faults, ``server`` brings them together.
"""
