# Installs the packages in /root, upgrades to the kernel of the suite $1, removes them; fails where
# something is not as it must be.
set -eu
export DEBIAN_FRONTEND=noninteractive
backports=$1

tell() { echo "check: $*"; }
add() { apt-get -q -y --no-install-recommends install "$@"; }
fail() { tell "FAILED: $*"; exit 1; }

not_built() {
	cat /var/lib/dkms/trapline/*/build/make.log || true
	fail "$*"
}

# For each kernel whose headers are there: built, installed, found by its name.
built() {
	for kernel in $(ls /lib/modules); do
		dkms status trapline -k "$kernel" | grep -q ': installed' ||
			not_built "not installed for $kernel: $(dkms status)"
		modinfo -k "$kernel" -F vermagic trapline | grep -q "^$kernel " || fail "no module in $kernel"
		tell "module in place for $kernel: $(modinfo -k "$kernel" -n trapline)"
	done
}

add linux-headers-amd64 man-db
add /root/trapline_*.deb /root/trapline-dkms_*.deb || not_built "the packages can't be installed"
tell "Rust: $(rustc --version)"
built
trapline --version
man -w trapline-module-build >/dev/null || fail "no man pages"
test -e /usr/share/bash-completion/completions/trapline || fail "no completions"
# What was installed is a source that the command builds from.
before=$(ls /lib/modules | head -n 1)
trapline module build --kernel "$before" --to /root/trapline.ko
modinfo -F vermagic /root/trapline.ko | grep -q "^$before " || fail "trapline module build"
tell "trapline module build made one for $before"

add -t "$backports" linux-headers-amd64 || not_built "not built for a newer kernel"
test "$(ls /lib/modules | wc -l)" = 2 || fail "expected two kernels: $(ls /lib/modules)"
built

apt-get -q -y purge trapline trapline-dkms
rm /root/trapline* /root/check.sh
# The package manager remembers names, and a log tells what was done.
left=$(find / -xdev -name '*trapline*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/var/log/*')
test -z "$left" || fail "left after removal: $left"
for kernel in $(ls /lib/modules); do
	test ! -d "/lib/modules/$kernel/updates" || fail "left: /lib/modules/$kernel/updates"
done
tell "removed, and nothing is left"
