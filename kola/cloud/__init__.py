"""What all cloud drivers have in common; a driver in ``platforms/`` holds only what is particular to its cloud.

``platform`` is the base class of drivers, ``instance`` the machine that it makes; the other modules are pure, or take
the calls that they make as functions: ``tags``, ``sweep``, ``sizes``, ``userdata``, ``hours``.
"""
