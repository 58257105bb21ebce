"""Updates: from one release to the next and back, over barriers, through faults and power cuts; by Zincati where it is.

Every test needs an image that brings its updates (`updates` in image.json), or `--from-image`: then another image is
updated to the one under test (docs/upgrades.md). A power cut here is a reset of the virtual machine: what the guest has
handed to its disk is there afterwards, in that order; a disk that loses or reorders what it has acknowledged is not
simulated.

For Fedora CoreOS give `--image` a folder with a disk image of the oldest of three releases, an OSTree repository in
archive mode with the signed commits of all, and this `image.json`. `image` (an OCI archive) and `package` (an RPM file)
may be left out; what needs them is skipped then. That images are signed by Fedora is not tested: the registry of the
tests has no signatures.

    {"schema": 1, "file": "DISK.qcow2", "updates": {"repo": "REPOSITORY", "remote": "fedora", "package": "FILE.rpm",
     "releases": [{"version": "42.1", "commit": "CHECKSUM", "ref": "fedora/x86_64/coreos/stable", "image": "FILE"}]}}
"""
