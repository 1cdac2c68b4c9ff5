#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Usage: fetch-debian.sh ARCH OUT [PACKAGE...]
#
# Fetches what a guest of architecture ARCH is made of, a Debian kernel and a static busybox, and
# unpacks it into the directory OUT (nothing is installed). OUT/packages lists the packages. Named
# PACKAGEs are fetched instead, without what they depend on.
#
# apt does the work with a configuration of its own: own sources, lists, cache and package status,
# so that this machine's are neither changed nor needed to know ARCH, and no root is needed. What
# stays in force is how this machine reaches the network (proxies, credentials) and that packages
# are checked against Debian's keys. The packages come from the mirror that this machine's own apt
# sources name for Debian; HAKO_DEBIAN_MIRROR=URL names another, HAKO_DEBIAN_SUITE=NAME another suite.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/guest/common.sh
. "$here/common.sh"

[ $# -ge 2 ] || die 'usage: fetch-debian.sh ARCH OUT [PACKAGE...]'
arch=$1 out=${2%/}
shift 2
guest_arch "$arch"
need apt-get apt
need dpkg-deb dpkg

# os_release KEY: prints a value of this machine's os-release(5), which is shell syntax.
# shellcheck disable=SC2034 # $1 names the variable
os_release() (
    ID='' VERSION_CODENAME=''
    # shellcheck source=/dev/null
    . /etc/os-release 2>/dev/null || true
    eval "echo \"\$$1\""
)

host_suite=
[ "$(os_release ID)" != debian ] || host_suite=$(os_release VERSION_CODENAME)
[ "$suite" != host ] || suite=${host_suite:-bookworm}
suite=${HAKO_DEBIAN_SUITE:-$suite}

# The mirror is the one of this machine's own suite, else any that serves Debian proper.
find_mirror() {
    # shellcheck disable=SC2016 # the dollars are apt's
    apt-get indextargets 'Created-By: Packages' \
        --format '$(REPO_URI) $(RELEASE) $(CODENAME) $(ORIGIN)/$(LABEL)' 2>/dev/null |
        awk -v suite="$host_suite" '
            suite != "" && ($2 == suite || $3 == suite) && !own { own = $1 }
            $4 == "Debian/Debian" && !other { other = $1 }
            END { print own ? own : other }'
}
mirror=${HAKO_DEBIAN_MIRROR:-$(find_mirror)}
[ -n "$mirror" ] ||
    die 'no apt source of this machine names a Debian mirror:' \
        'set HAKO_DEBIAN_MIRROR to the URL of one'

case $out in
*/*) make_scratch "${out%/*}" ;;
*) make_scratch . ;;
esac
scratch=$(cd "$scratch" && pwd)
apt=$scratch/apt
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$scratch/tree"
: >"$apt/status"

# "#clear" is apt's way to unset: this machine's hooks and pins are about its own packages.
cat >"$apt/apt.conf" <<EOF
APT::Architecture "$arch";
#clear APT::Architectures;
APT::Architectures { "$arch"; };
#clear APT::Default-Release;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Dir::Etc::sourcelist "$apt/debian.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
EOF

cat >"$apt/debian.sources" <<EOF
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Targets: Packages
EOF
# Without Debian's keyring package, apt's own trusted keys have to do.
keyrings=/usr/share/keyrings/debian-archive-keyring
if keyring=$(first_of $keyrings.gpg $keyrings.pgp); then
    echo "Signed-By: $keyring" >>"$apt/debian.sources"
fi

# fetch COMMAND...: runs apt-get; shows its progress on a terminal, else only why it failed.
fetch() {
    if [ -t 1 ]; then
        apt-get -q=0 -c "$apt/apt.conf" "$@" 2>"$apt/errors"
    else
        apt-get -qq -c "$apt/apt.conf" "$@" >/dev/null 2>"$apt/errors"
    fi && return
    reason=$(sed -n 's/^E: //p' "$apt/errors" | head -n 1)
    die "could not fetch from the mirror (${reason:-apt gave no reason}):" \
        'check the network, or name another mirror with HAKO_DEBIAN_MIRROR'
}

# field PACKAGE FIELD: prints a field of the package's newest version.
field() {
    apt-cache -c "$apt/apt.conf" show --no-all-versions "$1" 2>/dev/null | sed -n "s/^$2: //p"
}

say "fetching the package lists of Debian $suite for $arch"
fetch update

[ $# -gt 0 ] || {
    # The meta package's first dependency is the real one: "linux-image-VERSION (= ...), ...".
    image=$(field "$kernel" Depends | sed 's/[ ,|].*//')
    [ -n "$image" ] || die "Debian $suite has no package $kernel for $arch"
    set -- "$image" busybox-static
}

cd "$apt"
for package; do
    version=$(field "$package" Version)
    [ -n "$version" ] || die "Debian $suite has no package $package for $arch"
    size=$(field "$package" Size | awk '{ printf "%.1f MB", $1 / 1e6 }')
    say "fetching $package $version ($size)"
    fetch download "$package"
    dpkg-deb -x "$package"_*.deb "$scratch/tree" ||
        die "could not unpack $package: check that the disk has 200 MB of free space"
    echo "$package $version" >>"$scratch/tree/packages"
done
cd "$OLDPWD"

rm -rf "$out"
mv "$scratch/tree" "$out"
