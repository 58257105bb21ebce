"""Butane configs written by hand, from the specification documents: each body in every version that Butane has.

Local paths are relative to the folder ``files`` beside this.
"""

from __future__ import annotations

from pathlib import Path

FILES = Path(__file__).parent / "files"
VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0", "1.6.0")
_HASH = "sha512-" + "ab" * 64

BODIES = {
    "nothing": "",
    "file": "storage: {files: [{path: /etc/a, mode: 0644, contents: {inline: hello}}]}",
    "decimal mode of a file": "storage: {files: [{path: /etc/a, mode: 644}]}",
    "decimal mode of a directory": "storage: {directories: [{path: /etc/a, mode: 755}]}",
    "two sources": "storage: {files: [{path: /etc/a, contents: {inline: 'x', source: 'http://a/b'}}]}",
    "append": "storage: {files: [{path: /etc/a, append: [{inline: 'ä'}, {source: 'data:,b'}]}]}",
    "overwrite with nothing in it": "storage: {files: [{path: /etc/a, overwrite: yes, contents: {inline: ''}}]}",
    "overwrite without contents": "storage: {files: [{path: /etc/a, overwrite: yes}]}",
    "unknown key": "storage: {files: [{path: /etc/a, nonsense: 1}]}",
    "unknown section": "storages: {files: [{path: /etc/a}]}",
    "key twice": "storage: {files: [{path: /etc/a, path: /etc/b}]}",
    "compressed by the author": "storage: {files: [{path: /a, contents: {compression: gzip, inline: 'xyz'}}]}",
    "directory": "storage: {directories: [{path: /etc/a, mode: 0o755, user: {name: core}, group: {id: 5}}]}",
    "owner twice": "storage: {directories: [{path: /etc/a, user: {name: core, id: 5}}]}",
    "hard link": "storage: {links: [{path: /etc/a, target: /b, hard: on}]}",
    "link": "storage: {links: [{path: /etc/a, target: /b, overwrite: True}]}",
    "same path twice": "storage: {files: [{path: /a}], directories: [{path: /a}]}",
    "relative path": "storage: {files: [{path: etc/a}]}",
    "path of a number": "storage: {files: [{path: 5}]}",
    "mode of a string": "storage: {files: [{path: /a, mode: '0644'}]}",
    "mode of a word": "storage: {files: [{path: /a, mode: rwx}]}",
    "contents of a string": "storage: {files: [{path: /a, contents: hello}]}",
    "files of an object": "storage: {files: {path: /a}}",
    "truth of a number": "storage: {files: [{path: /a, overwrite: 1, contents: {inline: x}}]}",
    "quoted truth": "storage: {directories: [{path: /a, overwrite: 'yes'}]}",
    "quoted truth of YAML 1.2": "storage: {directories: [{path: /a, overwrite: 'true'}]}",
    "inline of a number": "storage: {files: [{path: /a, contents: {inline: 1.50}}]}",
    "inline of a truth value": "storage: {files: [{path: /a, contents: {inline: yes}}]}",
    "inline of nothing": "storage: {files: [{path: /a, contents: {inline: }}]}",
    "anchor": "storage: {files: [{path: /a, contents: &c {inline: x}}, {path: /b, contents: *c}]}",
    "merge key": "storage: {files: [&f {path: /a, mode: 0600}, {<<: *f, path: /b}]}",
    "block text": "storage:\n  files:\n  - path: /a\n    contents:\n      inline: |\n        one\n      "
    "    two\n  - path: /b",
    "mount unit": "storage: {filesystems: [{device: /dev/vdb, format: xfs, path: /var/lib/x-y z, with_mount_unit: true,"
    " mount_options: [a, b]}]}",
    "swap unit": "storage: {filesystems: [{device: /dev/vdb, format: swap, with_mount_unit: true}]}",
    "swap unit with options": "storage: {filesystems: [{device: /dev/disk/by-label/a.b, format: swap,"
    " mount_options: [x],"
    " with_mount_unit: true}]}",
    "swap with a path": "storage: {filesystems: [{device: /dev/vdb, format: swap, path: /var/s,"
    " with_mount_unit: true}]}",
    "mount point of an image": "storage: {filesystems: [{device: /dev/v, format: ext4, path: /srv,"
    " with_mount_unit: true}]}",
    "mount point of /": "storage: {filesystems: [{device: /dev/v, format: ext4, path: /, with_mount_unit: true}]}",
    "mount unit without format": "storage: {filesystems: [{device: /dev/vdb, path: /var/x, with_mount_unit: true}]}",
    "mount unit without path": "storage: {filesystems: [{device: /dev/vdb, format: xfs, with_mount_unit: true}]}",
    "mount unit that the author writes himself": "storage: {filesystems: [{device: /dev/v, format: xfs, path: /var/a,"
    " with_mount_unit: true}]}\nsystemd: {units: [{name: var-a.mount, enabled: false}, {name: b.service, mask: true}]}",
    "file system": "storage: {filesystems: [{device: /dev/vdb, format: ext4, path: /var/x, wipe_filesystem: true,"
    " label: a, uuid: b, options: ['-x']}]}",
    "partitions": "storage: {disks: [{device: /dev/vdb, wipe_table: true, partitions: [{label: a, size_mib: 5,"
    " start_mib: 1, type_guid: 0FC63DAF-8483-4772-8E79-3D69D8477DE4}]}]}",
    "partition by label": "storage: {disks: [{device: /dev/vdb, partitions: [{label: a, size_mib: 5}]}]}",
    "root partition": "storage: {disks: [{device: /dev/disk/by-id/coreos-boot-disk, partitions: [{label:"
    " root, number: 4,"
    " size_mib: 8192, resize: true}, {label: var, number: 0}]}]}",
    "root partition with another number": "storage: {disks: [{device: /dev/disk/by-id/coreos-boot-disk, partitions:"
    " [{label: root, number: 5}]}]}",
    "RAID": "storage: {raid: [{name: d, level: raid1, devices: [/dev/a, /dev/b]}]}",
    "LUKS by TPM": "storage: {luks: [{name: d, device: /dev/a, wipe_volume: true, clevis: {tpm2: true}}]}",
    "LUKS by key": "storage: {luks: [{name: d, device: /dev/a, key_file: {inline: key}, discard: true, open_options:"
    " [--x]}]}",
    "LUKS by Tang, mounted": "storage: {luks: [{name: d, device: /dev/a, clevis: {tang: [{url: 'http://t', thumbprint:"
    " x}], threshold: 1}}], filesystems: [{device: /dev/mapper/d, format: ext4, path: /var/x, with_mount_unit: true}]}",
    "LUKS by CEX": "storage: {luks: [{name: d, device: /dev/a, cex: {enabled: true}}]}",
    "LUKS by a pin": "storage: {luks: [{name: d, device: /dev/a, clevis: {custom: {pin: sss, config: '{}',"
    " needs_network: true}}}]}",
    "boot device by TPM": "boot_device: {luks: {tpm2: true}}",
    "boot device by Tang": "boot_device: {luks: {tang: [{url: 'http://t', thumbprint: x, advertisement: '{}'}],"
    " threshold: 1, tpm2: true}}",
    "boot device with discard": "boot_device: {luks: {tpm2: true, discard: true}}",
    "mirror": "boot_device: {mirror: {devices: [/dev/a, /dev/b]}}",
    "mirror with a change": "boot_device: {mirror: {devices: [/dev/a, /dev/b]}}\nstorage: {disks: [{device: /dev/a,"
    " partitions: [{label: root-1, size_mib: 9000}, {label: var-1}]}], filesystems: [{device: /dev/md/md-root, format:"
    " btrfs, wipe_filesystem: true, label: root}]}",
    "mirror of aarch64, encrypted": "boot_device: {layout: aarch64, mirror: {devices: [/dev/a, /dev/b]}, luks: {tpm2:"
    " true}}",
    "mirror of ppc64le": "boot_device: {layout: ppc64le, mirror: {devices: [/dev/a, /dev/b, /dev/c]}}",
    "layout alone": "boot_device: {layout: x86_64}",
    "layout of nobody": "boot_device: {layout: sparc}",
    "mirror of one": "boot_device: {mirror: {devices: [/dev/a]}}",
    "s390x with CEX": "boot_device: {layout: s390x-eckd, luks: {device: /dev/dasda, cex: {enabled: true}}}\n"
    "kernel_arguments: {should_exist: [rd.luks.key=/etc/luks/cex.key]}",
    "s390x with TPM": "boot_device: {layout: s390x-zfcp, luks: {device: /dev/sda, tpm2: true}}",
    "s390x with a wrong device": "boot_device: {layout: s390x-zfcp, luks: {device: /dev/vda, tpm2: true}}",
    "s390x without a device": "boot_device: {layout: s390x-eckd, luks: {tpm2: true}}",
    "s390x virtual": "boot_device: {layout: s390x-virt, luks: {tpm2: true}}",
    "s390x mirrored": "boot_device: {layout: s390x-virt, mirror: {devices: [/dev/a, /dev/b]}}",
    "CEX elsewhere": "boot_device: {luks: {cex: {enabled: true}}}",
    "CEX and TPM": "boot_device: {layout: s390x-virt, luks: {tpm2: true, cex: {enabled: true}}}",
    "GRUB": "grub: {users: [{name: root, password_hash: grub.pbkdf2.x}, {name: b, password_hash: c}]}",
    "GRUB without password": "grub: {users: [{name: root}]}",
    "GRUB and a boot file system": "grub: {users: [{name: root, password_hash: x}]}\nstorage: {filesystems: [{device:"
    " /dev/disk/by-label/boot, format: ext4, path: /boot, label: boot}]}",
    "users": "passwd: {users: [{name: core, ssh_authorized_keys: [a, b], groups: [wheel], home_dir: /x, no_create_home:"
    " true, password_hash: x, uid: 5, should_exist: false}], groups: [{name: g, gid: 5, system: true}]}",
    "unit without [Install]": 'systemd: {units: [{name: a.service, enabled: true, contents: "[Unit]\\nA=b"}]}',
    "units": 'systemd: {units: [{name: a.service, enabled: true, contents: "[Unit]\\nA=b\\n[Install]\\nWantedBy=x",'
    ' dropins: [{name: x.conf, contents: "[Unit]\\nA=c"}]}, {name: b.service, mask: true}]}',
    "unit without suffix": "systemd: {units: [{name: a.foo}]}",
    "kernel arguments": "kernel_arguments: {should_exist: [a, b=c], should_not_exist: [d]}",
    "merge": f"ignition: {{config: {{merge: [{{source: 'http://a/b', verification: {{hash: {_HASH}}}}}]}}}}",
    "broken hash": "ignition: {config: {merge: [{source: 'http://a/b', verification: {hash: md5-1}}]}}",
    "replace": "ignition: {config: {replace: {source: 'http://a/b', http_headers: [{name: x, value: y}]}}}",
    "broken inner config": "ignition: {config: {merge: [{inline: '{\"ignition\": '}]}}",
    "security and so on": "ignition: {security: {tls: {certificate_authorities: [{inline: x}, {source:"
    " 'https://a/b'}]}},"
    " timeouts: {http_total: 5, http_response_headers: 7}, proxy: {http_proxy: 'http://a', no_proxy: [x]}}",
    "version of Ignition": "ignition: {version: 3.0.0}",
    "local file": "storage: {files: [{path: /a, contents: {local: a.txt}}, {path: /b, contents: {local: big.txt}}]}",
    "local binary file": "storage: {files: [{path: /a, mode: 0600, contents: {local: binary.bin}}]}",
    "local and inline": "storage: {files: [{path: /a, contents: {local: a.txt, inline: x}}]}",
    "local file that is missing": "storage: {files: [{path: /a, contents: {local: missing.txt}}]}",
    "local file outside": "storage: {files: [{path: /a, contents: {local: ../configs.py}}]}",
    "local unit": "systemd: {units: [{name: a.service, enabled: true, contents_local: unit.service, dropins: [{name:"
    " b.conf, contents_local: unit.service}]}]}",
    "local unit and contents": "systemd: {units: [{name: a.service, contents: '[Unit]', contents_local:"
    " unit.service}]}",
    "local keys": "passwd: {users: [{name: core, ssh_authorized_keys: [zero], ssh_authorized_keys_local: [keys]}]}",
    "local keys that are missing": "passwd: {users: [{name: core, ssh_authorized_keys_local: [keys, missing]}]}",
    "tree": "storage: {trees: [{local: tree}]}",
    "tree elsewhere": "storage: {trees: [{local: tree/etc, path: /usr/local}]}",
    "tree over entries": "storage: {trees: [{local: tree}], files: [{path: /etc/plain, mode: 0600}], links: [{path:"
    " /etc/other, target: x}]}",
    "tree over contents": "storage: {trees: [{local: tree}], files: [{path: /etc/plain, contents: {inline: x}}]}",
    "tree over another kind": "storage: {trees: [{local: tree}], directories: [{path: /etc/plain}]}",
    "tree of a file": "storage: {trees: [{local: a.txt}]}",
    "tree without local": "storage: {trees: [{path: /etc}]}",
    "tree twice": "storage: {trees: [{local: tree}, {local: tree}]}",
}


def written() -> dict[str, str]:
    """Return every body in every version: name -> config."""
    return {
        f"{name}, {version}": f"variant: fcos\nversion: {version}\n{body}\n"
        for name, body in BODIES.items()
        for version in VERSIONS
    }
