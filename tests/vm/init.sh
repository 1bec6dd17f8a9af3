#!/bin/busybox sh
# The first process of the machine: a pure v2 hierarchy, the suites one after the other, and what they left behind.
# Every verdict is a line that begins with `vm:`; `vm: passed` comes only when everything did.
/bin/busybox --install -s /bin
export PATH=/bin TMPDIR=/tmp HOME=/ SHIM_UNDER_TEST=/t/pyrust-ctr-shim RUST_BACKTRACE=0
mount -t devtmpfs devtmpfs /dev 2>/dev/null

if [ "$1" != again ]; then
    # The initial file system cannot be pivoted away from: go on in a mount of it on top of itself.
    mount --bind / /mnt
    cd /mnt || exit 1
    mount --move . /
    exec chroot . /init again
fi

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs tmpfs /run
for module in /lib/modules/*.ko; do
    case $module in
        *-brd.ko) insmod "$module" rd_nr=1 rd_size=393216 ;;
        *) insmod "$module" ;;
    esac
done
# Layers want the extended attributes of a real file system.
mke2fs -b 4096 -I 256 -i 8192 /dev/ram0 > /dev/null && mount -t ext4 /dev/ram0 /tmp && rmdir /tmp/lost+found && chmod 1777 /tmp
ip link set lo up
echo "vm: kernel $(uname -r), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"

failed=0
(sleep @TIMEOUT_S@; echo "vm: out of time"; poweroff -f) &

suite() {
    begun=$(cut -d. -f1 /proc/uptime)
    /t/deps/"$@" && verdict=passed || { verdict=failed; failed=1; }
    echo "vm: suite $1 $verdict in $(($(cut -d. -f1 /proc/uptime) - begun)) s"
}
@SUITES@

# What a shim does after its answer has a moment.
sleep 1
left="$(find /sys/fs/cgroup -mindepth 1 -type d; grep -E ' /(tmp|run|t|dev/shm)/' /proc/mounts; ls /tmp; ps -o pid,args | grep '[p]yrust-ctr')"
[ -z "$left" ] || { echo "vm: left behind: $left"; failed=1; }
[ $failed -eq 0 ] && echo "vm: passed" || echo "vm: failed"
poweroff -f
