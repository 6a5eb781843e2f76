#!/bin/sh
# boot.sh DIRECTORY - becomes systemd, as the first process of namespaces of its
# own (harness/booted.py makes them). It sees this machine's files; what it
# writes is gone at the end. DIRECTORY/etc goes over /etc, DIRECTORY/bin over
# /usr/bin.
set -eu
directory=$1
root=$directory/root

mount --make-rprivate /
mkdir -p "$directory/layers" "$root"
mount -t tmpfs layers "$directory/layers"
mkdir "$directory/layers/upper" "$directory/layers/work"
mount -t overlay overlay -o \
	"lowerdir=/,upperdir=$directory/layers/upper,workdir=$directory/layers/work" \
	"$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do
	: >"$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for place in dev/shm run tmp var/log; do
	mount -t tmpfs -o mode=755 tmpfs "$root/$place"
done
chmod 1777 "$root/tmp"
ip link set lo up
rm -rf "$root/etc/fstab" "$root/etc/signet"
cp -R "$directory/etc/." "$root/etc/"
chown -R root:root "$root/etc/signet"
cp "$directory/bin/"* "$root/usr/bin/"
cd "$root"
pivot_root . mnt
umount -l /mnt
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --system --unit=signet-test.target \
	--log-target=console --show-status=no
