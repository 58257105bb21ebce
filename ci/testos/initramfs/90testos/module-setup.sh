#!/bin/bash
# What Fedora CoreOS does in its initramfs around Ignition, for this system.

check() {
    return 255
}

depends() {
    echo systemd ignition ostree
}

install_unit() {
    local unit=$1 target=$2
    inst_simple "$moddir/$unit" "$systemdsystemunitdir/$unit"
    mkdir -p "$initdir/$systemdsystemunitdir/$target"
    ln_r "$systemdsystemunitdir/$unit" "$systemdsystemunitdir/$target/$unit"
}

install() {
    # The user `core`, as on Fedora CoreOS: not in the image but in the configuration that every user's is merged into.
    inst_simple "$moddir/base.ign" /usr/lib/ignition/base.d/00-core.ign

    install_unit testos-network.service ignition-complete.target.requires
    inst_simple "$moddir/initrd.network" /etc/systemd/network/10-initrd.network
    inst_multiple sfdisk partx resize2fs
    inst_script "$moddir/testos-growfs" /usr/sbin/testos-growfs
    install_unit testos-growfs.service ignition-complete.target.requires
    install_unit testos-mount-var.service ignition-complete.target.requires

    # Devices that a configuration may ask for; Ignition's own module leaves these tools out.
    inst_multiple cryptsetup mdadm dmsetup
    # Without 95-dm-notify.rules nobody tells cryptsetup that udev is done, and it waits for ever.
    inst_rules 01-md-raid-creating.rules 55-dm.rules 60-persistent-storage-dm.rules 63-md-raid-arrays.rules 95-dm-notify.rules
    # Kernel arguments are the distribution's business; the stock helper only says so.
    rm -f "$initdir/usr/sbin/ignition-kargs-helper"
    inst_script "$moddir/ignition-kargs-helper" /usr/sbin/ignition-kargs-helper

    inst_multiple journalctl sulogin
    inst_script "$moddir/testos-dump-journal" /usr/sbin/testos-dump-journal
    install_unit testos-dump-journal.service emergency.target.wants
    inst_script "$moddir/testos-emergency-shell" /usr/sbin/testos-emergency-shell
    inst_simple "$moddir/emergency.conf" "$systemdsystemunitdir/emergency.service.d/10-testos.conf"

    # dracut's own way to find and mount a root; systemd's generator from root= is all that is needed here.
    local unit
    for unit in dracut-cmdline dracut-initqueue dracut-mount dracut-pre-mount dracut-pre-pivot dracut-pre-trigger \
        dracut-pre-udev systemd-bsod systemd-battery-check systemd-pcrphase-initrd systemd-networkd \
        systemd-networkd-wait-online systemd-network-generator systemd-hibernate-resume systemd-hibernate-clear \
        systemd-vconsole-setup; do
        ln -sf /dev/null "$initdir/etc/systemd/system/$unit.service"
    done
    ln -sf /dev/null "$initdir/etc/systemd/system/systemd-networkd.socket"
}
