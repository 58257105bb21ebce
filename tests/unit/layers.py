"""Who may import whom: the tables that ``test_imports.py`` enforces.

A new module belongs into the table ``LAYERS``, in the lowest layer that what it imports allows.
"""

LEAVES, BASE, RUN, TOP = "leaves", "base", "run", "top"
ORDER = (LEAVES, BASE, RUN, TOP)
"""A module imports from its own layer and those before it."""

LAYERS = {
    # Know nothing of a platform; also the drivers build on these.
    "": LEAVES,
    "arch": LEAVES,
    "arguments": LEAVES,
    "budget": LEAVES,
    "butane": LEAVES,
    "cgroup": LEAVES,
    "checks": LEAVES,
    "cincinnati": LEAVES,
    "clonecache": LEAVES,
    "command": LEAVES,
    "configs": LEAVES,
    "diagnose": LEAVES,
    "document": LEAVES,
    "download": LEAVES,
    "durations": LEAVES,
    "bugs": LEAVES,
    "errors": LEAVES,
    "external": LEAVES,
    "faults": LEAVES,
    "fleetlock": LEAVES,
    "gate": LEAVES,
    "filelock": LEAVES,
    "guest": LEAVES,
    "hostports": LEAVES,
    "httpd": LEAVES,
    "httpmessage": LEAVES,
    "ignition": LEAVES,
    "ignition_validate": LEAVES,
    "imagefile": LEAVES,
    "imagemetadata": LEAVES,
    "imports": LEAVES,
    "journal": LEAVES,
    "keys": LEAVES,
    "killing": LEAVES,
    "ledger": LEAVES,
    "lives": LEAVES,
    "matrix": LEAVES,
    "metadata": LEAVES,
    "needs": LEAVES,
    "order": LEAVES,
    "process": LEAVES,
    "progress": LEAVES,
    "provision": LEAVES,
    "qcow2": LEAVES,
    "registry": LEAVES,
    "releaseimages": LEAVES,
    "releases": LEAVES,
    "results": LEAVES,
    "retry": LEAVES,
    "shards": LEAVES,
    "signature": LEAVES,
    "services": LEAVES,
    "slots": LEAVES,
    "sources": LEAVES,
    "statement": LEAVES,
    "spec": LEAVES,
    "tap": LEAVES,
    "text": LEAVES,
    "tls": LEAVES,
    "updates": LEAVES,
    "usage": LEAVES,
    "version": LEAVES,
    "yamltext": LEAVES,
    "yamlvalues": LEAVES,
    "wait": LEAVES,
    # One thing each that a machine is made of.
    "channel": BASE,
    "cloud": BASE,
    "doorbell": BASE,
    "images": BASE,
    "jobs": BASE,
    "optionvalues": LEAVES,
    "options": BASE,
    "platform": BASE,
    "report": BASE,
    "selection": BASE,
    "shell": BASE,
    "ssh": BASE,
    "transport": BASE,
    "wire": BASE,
    # Machines and the run that they belong to.
    "clones": RUN,
    "deployment": RUN,
    "flight": RUN,
    "health": RUN,
    "launcher": RUN,
    "link": RUN,
    "logs": RUN,
    "machine": RUN,
    "park": RUN,
    "meter": RUN,
    "parallel": RUN,
    "reaper": RUN,
    "run": RUN,
    "runext": RUN,
    "runs": RUN,
    "typed": LEAVES,
    "units": RUN,
    "files": RUN,
    "upgrades": BASE,
    "watch": RUN,
    # What a person or pytest talks to.
    "__main__": TOP,
    "cli": TOP,
    "collect": TOP,
    "commands": TOP,
    "fixtures": TOP,
    "hooks": TOP,
    "hookspecs": TOP,
    "plan": TOP,
    "plugin": TOP,
    "preparation": TOP,
    "recording": TOP,
    "rerun": TOP,
    "scheduler": TOP,
    "terminal": TOP,
}

PYTEST = {
    "collect",
    "commands",
    "fixtures",
    "hooks",
    "options",
    "plugin",
    "preparation",
    "recording",
    "rerun",
    "scheduler",
    "terminal",
}
"""Who may import pytest or xdist; everything else raises ``ConfigError`` and knows neither."""

FOR_DRIVERS = {"cloud", "platform", "images"}
"""What a driver may import beside the leaves, its SDK and its own modules."""

FOR_TRUST = {"jobs"}
"""What ``trust`` may import beside the leaves."""
TRUST_PLUGIN = "kolafault"
"""The one module of it that is loaded by pytest, and may import what a plugin may."""

OF_EXTRAS = {
    **dict.fromkeys(("google", "in_toto_attestation", "securesystemslib"), "statement"),
    **dict.fromkeys(("boto3", "botocore", "jinja2", "markupsafe"), "report"),
}
"""Of extras, each for one module of kola alone."""
DEPENDENCIES = {"_pytest", "cryptography", "paramiko", "psutil", "pytest", "xdist", "yaml", *OF_EXTRAS}
"""What ``kola`` may import beside the standard library. An SDK belongs into the driver that uses it.

``_pytest`` is for running a test again, for which pytest has no public name.
"""
