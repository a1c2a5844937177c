#!/bin/sh
# Lays out the root file system of the image: rootfs.sh BINARY FOLDER, as root, on Debian.
#
# What the loader names is what is copied, so that the libraries are those that the binary was built against.
set -eu
binary=$1
root=$2
user=65532

umask 022
mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/etc/relais" "$root/usr/share/doc" "$root/var/lib" "$root/proc" "$root/sys" "$root/dev" "$root/run"
install -m 0755 "$binary" "$root/usr/bin/relais"
strip "$root/usr/bin/relais"
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    # By its name, not as the link that it may be.
    cp --dereference "$library" "$root$library"
done

# The authorities that sign webhooks' receivers and carriers.
cp --dereference /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf 'root:x:0:0:root:/:/sbin/nologin\nrelais:x:%s:%s:Relais:/var/lib/relais:/sbin/nologin\n' $user $user >"$root/etc/passwd"
printf 'root:x:0:\nrelais:x:%s:\n' $user >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
install -d -m 1777 "$root/tmp"
install -d -m 0700 -o $user -g $user "$root/var/lib/relais"

# Under what terms all of it is passed on.
for package in libc6 libgcc-s1 ca-certificates; do
    mkdir -p "$root/usr/share/doc/$package"
    cp --dereference "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
done
mkdir -p "$root/usr/share/doc/relais"
cp "$(dirname "$0")/../../LICENSE" "$root/usr/share/doc/relais/copyright"
