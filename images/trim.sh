#!/bin/sh
# Of a Debian base with Python, leave what a pod needs, and make the account it runs as. What goes:
# Debian's own package tools, perl, bash, log-in and file system programs, and the libraries that only
# those use (so no program is set-uid); of Python pip, its tests, IDE, Tk and headers; manuals, other
# languages, character sets of the C library, bytecode. Names that a base lacks do no harm.
set -eu
packages="adduser apt bash bsdutils debconf debian-archive-keyring debianutils diffutils e2fsprogs
	findutils gpgv gzip init-system-helpers libapt-pkg6.0 libaudit-common libaudit1 libcap-ng0
	libdebconfclient0 libext2fs2 libfile-find-rule-perl libgcrypt20 libgnutls30 libgpg-error0
	libhogweed6 libidn2-0 libblkid1 liblz4-1 libmount1 libnettle8 libnumber-compare-perl libp11-kit0
	libpam-modules libpam-modules-bin libpam-runtime libpam0g libperl5.36 libseccomp2
	libsemanage-common libsemanage2 libsepol2 libsmartcols1 libss2 libsystemd0 libtasn1-6
	libtext-glob-perl libudev1 libunistring2 libxxhash0 login logsave mawk mount ncurses-bin openssl
	passwd perl perl-base perl-modules-5.36 python3-distutils python3-lib2to3 python3-pip-whl
	python3-setuptools-whl python3-venv python3.11-venv sysvinit-utils tar usr-is-merged usrmerge
	util-linux util-linux-extra"
# /var/lib/dpkg/status stays, and is true: the SBOM and scanners of images read it. The packages' own
# scripts need what goes before them.
rm -f /var/lib/dpkg/info/*.prerm /var/lib/dpkg/info/*.postrm
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive dpkg --purge --force-all $packages >/tmp/purged 2>&1 || {
	cat /tmp/purged >&2
	exit 1
}
DEBIAN_FRONTEND=noninteractive dpkg --purge --force-all dpkg >/dev/null 2>&1 || true
ldconfig

python=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
cd "$python"
rm -rf site-packages/* config-3* ensurepip idlelib lib2to3 test tkinter turtle.py turtledemo pydoc_data \
	unittest/test ctypes/test distutils/tests sqlite3/test lib-dynload/_tkinter* lib-dynload/_test* \
	lib-dynload/_xxtestfuzz* lib-dynload/xx*
cd /
rm -rf /usr/local/include /usr/local/bin/pip* /usr/local/bin/idle* /usr/local/bin/2to3* \
	/usr/local/bin/pydoc* /usr/local/bin/wheel /usr/local/share/man \
	/usr/share/doc /usr/share/man /usr/share/info /usr/share/locale /usr/share/bash-completion \
	/usr/share/perl* /usr/share/python-wheels /usr/share/pixmaps /usr/lib/x86_64-linux-gnu/perl* \
	/usr/lib/*/gconv /var/cache/* /var/log/* /var/lib/apt /var/lib/dpkg/info /var/lib/dpkg/*-old /tmp/*

# No pod can write bytecode. By hash: the builders set the times of files.
PYTHONHASHSEED=0 python3 -m compileall -q -f -j 0 --invalidation-mode unchecked-hash "$python" || true
# every extension module still finds its libraries
python3 - <<'END'
import importlib, pathlib, sysconfig
for path in pathlib.Path(sysconfig.get_path("stdlib"), "lib-dynload").glob("*.so"):
    importlib.import_module(path.name.split(".")[0])
END

echo 'tally:x:65532:65532:tally:/tmp:/usr/sbin/nologin' >>/etc/passwd
echo 'tally:x:65532:' >>/etc/group
