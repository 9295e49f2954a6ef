#!/usr/bin/env bash
# Makes the two base images of docker/Dockerfile on this machine, under the
# names that a registry has them, for machines that reach Debian's packages but
# no image registry. Needs root, debootstrap and a local Rust toolchain. Where a
# registry can be reached the real images are pulled instead.
set -euo pipefail

runtime=debian:bookworm-slim
build=rust:1-bookworm
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

have() {
    docker image inspect "$1" >/dev/null 2>&1 || timeout 60 docker pull -q "$1" 2>/dev/null
}

if have "$runtime" && have "$build"; then
    echo "$runtime and $build are here already"
    exit 0
fi
[ "$(id -u)" -eq 0 ] || { echo "base-image.sh: run it as root: debootstrap makes device files" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -q -y --no-install-recommends debootstrap

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
debootstrap --variant=minbase bookworm "$root" "$mirror"
cat >"$root/etc/apt/sources.list" <<END
deb $mirror bookworm main
deb $mirror bookworm-updates main
deb ${mirror%/debian}/debian-security bookworm-security main
END
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
rm -rf "$root"/usr/share/{doc,man,info,locale}/*
tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - "$runtime"

# The build image: the same system with this machine's toolchain, and with the
# certificates that this machine trusts, which may be more than Debian's.
sysroot=$(rustc --print sysroot)
tar -C "$sysroot" -c --exclude=share --exclude=lib/rustlib/src bin lib | tar -C "$root/usr/local" -x
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - "$build"
