"""SELinux enforces, with the policy of the release, and every label is right.

Every boot enforces from its start; the policy on the disk is the deployment's, and the kernel has loaded that one. The
label of every file is compared with what the policy has for its path: a release with wrong labels works until the first
confined service needs one of those files. Processes run in their domains, a confined one really is denied, containers
are kept from the system and from each other, and no boot denies anything that the system itself does.
`exceptions.toml` is all that the tests let pass, each entry with its reason.
"""
