"""Updates: from one release to the next and back, over barriers, through faults and power cuts; by Zincati where it is.

Every test needs an image that brings its updates (`updates` in image.json), or `--from-image`: then another image is
updated to the one under test (docs/upgrades.md). A power cut here is a reset of the virtual machine: what the guest has
handed to its disk is there afterwards, in that order; a disk that loses or reorders what it has acknowledged is not
simulated.

A machine is updated as it was installed. Where rpm-ostree says that a container image is booted, as on Fedora CoreOS
since F42, updates are images in a registry of the tests, named by their digests; elsewhere they are commits of an
OSTree repository. Untrusted commits and a repository that fails are tested by commits alone. Updates by images have
never been run here, nor any of Fedora CoreOS: no image of it could be had.

For Fedora CoreOS give two builds or streams (docs/upgrades.md), or, for what needs three releases, `--image` a folder
with a disk image of the oldest one and this `image.json`. `repo` is an OSTree repository in archive mode with the
signed commits of all, or null; `image` an OCI archive, `package` an RPM file. Tests that need what is left out are
skipped. That images are signed by Fedora is not tested: the registry of the tests has no signatures.

    {"schema": 1, "file": "DISK.qcow2", "updates": {"repo": "REPOSITORY", "remote": "fedora", "package": "FILE.rpm",
     "releases": [{"version": "42.1", "commit": "CHECKSUM", "ref": "fedora/x86_64/coreos/stable", "image": "FILE"}]}}
"""
