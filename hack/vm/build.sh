#!/usr/bin/env bash
# Builds the VM node's image in the cache, if this recipe's is not there yet. Does its own
# set-up of the host (QEMU and a few tools, from Debian's packages).
#
# Kernel: Debian's, 6.12 or newer, from the host release's backports. Userland: Debian forky,
# for containerd 2 and CNI plugins 1.9; its packages are only unpacked, no maintainer script
# runs. Downloaded packages stay in the cache: backports versions leave the mirror with time.
#
# Debian's kernel comes without netdevsim, whose PFs have as many VFs as one likes and take every
# attribute of a VF. It's compiled from the very source that the kernel was made of.
set -euo pipefail
# shellcheck source=hack/vm/paths.sh
. "$(dirname "$(readlink -f "$0")")/paths.sh"
release=forky
oldest_kernel=6.12
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'hack/node: %s\n' "$*" >&2; }
fail() { printf 'hack/node: %s\n' "$*" >&2; exit 1; }

host_apt() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 "$@"; }

# Another apt-get may hold the package lists, and that lock has no time-out of its own.
update_lists() {
    local log
    log=$(mktemp)
    for _ in {1..10}; do
        if "$@" update >"$log" 2>&1; then
            rm -f "$log"
            return
        fi
        grep -q 'Could not get lock' "$log" || break
        sleep 3
    done
    cat "$log" >&2
    rm -f "$log"
    return 1
}

# Sources that have nothing to do with the VM can fail as well.
update_host_lists() { update_lists host_apt || say "apt-get update failed (see above): going on with what it has"; }

host_codename() { (. /etc/os-release && echo "${VERSION_CODENAME:-}"); }

# The mirror of Debian that this host's apt is configured to use.
debian_mirror() {
    apt-get indextargets --format '$(ORIGIN)|$(CODENAME)|$(REPO_URI)' 'Created-By: Packages' |
        awk -F'|' -v codename="$(host_codename)" '$1 == "Debian" && $2 == codename { print $3; exit }'
}

has_igb() { command -v qemu-system-x86_64 >/dev/null && qemu-system-x86_64 -device help 2>&1 | grep -q 'name "igb"'; }

host_packages() {
    local mirror backports
    [[ $(id -u) == 0 ]] || fail "building the VM node needs root: it installs packages and unpacks a root file system with its owners"
    if ! [[ -r $keyring ]] || ! command -v apt-get >/dev/null; then
        fail "building the VM node needs a Debian host (apt-get, debian-archive-keyring)"
    fi
    "$recipe/../apt-install" cpio e2fsprogs kmod seabios socat xz-utils zstd
    backports=$(host_codename)-backports
    if ! apt-get indextargets --format '$(RELEASE)' 'Created-By: Packages' | grep -qx "$backports"; then
        update_host_lists
        mirror=$(debian_mirror)
        [[ -n $mirror ]] || fail "no mirror of Debian $(host_codename) among apt's sources: add one"
        say "adding $backports to apt's sources"
        cat >/etc/apt/sources.list.d/patchbay-backports.sources <<EOF
Types: deb
URIs: $mirror
Suites: $backports
Components: main
Signed-By: $keyring
EOF
    fi
    if ! has_igb; then
        say "installing QEMU"
        update_host_lists
        host_apt install -y --no-install-recommends -t "$backports" qemu-system-x86 >"$work/qemu.log" 2>&1 ||
            { cat "$work/qemu.log" >&2; fail "QEMU cannot be installed (see above)"; }
        has_igb || fail "this QEMU has no igb NIC: version 8.0 or newer is needed"
    fi
}

# The guest's packages are resolved by the host's apt client, with its settings, on lists and
# a status of their own.
guest_apt() { # get|cache ARGS...
    local apt=$vm/apt verb=$1
    shift
    "apt-$verb" -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" \
        -o Dir::Cache="$apt/cache" -o Dir::Cache::archives="$debs" -o APT::Sandbox::User=root \
        -o APT::Install-Recommends=false "$@"
}

file_names() { awk "/^'/ { print \$2 }"; }

# Downloads what the packages file asks for; writes the files' names with their checksums to $1,
# one a line: the kernel's, dpdk-dev's, the four of kernel_parts, then all others.
download() {
    local apt=$vm/apt mirror kernel parts wanted testpmd abi
    say "downloading packages: the kernel, Debian $release"
    update_host_lists
    mirror=$(debian_mirror)
    [[ -n $mirror ]] || fail "no mirror of Debian $(host_codename) among apt's sources: add one"
    mkdir -p "$apt/state/lists/partial" "$apt/cache" "$debs/partial"
    : >"$apt/status"
    echo "deb [signed-by=$keyring] $mirror $release main" >"$apt/sources.list"
    update_lists guest_apt get || return 1

    kernel=$(apt-cache -o APT::Default-Release="$(host_codename)-backports" depends linux-image-amd64 |
        awk '/ Depends: linux-image-/ { print $2; exit }')
    [[ -n $kernel ]] || fail "no kernel package in $(host_codename)-backports"
    [[ $(printf '%s\n' "$oldest_kernel" "${kernel#linux-image-}" | sort -V | head -n 1) == "$oldest_kernel" ]] ||
        fail "$kernel is too old: igb's VFs need $oldest_kernel or newer"
    kernel_parts

    mapfile -t wanted < <(sed 's/#.*//' "$recipe/packages" | grep -v '^ *$')
    # dpdk-testpmd is in a package that depends on every header of DPDK: take what the program
    # links to, and leave the rest.
    mapfile -t testpmd < <(guest_apt cache depends dpdk-dev | awk '/ Depends: [^<]/ { print $2 }' | grep -vE -- '-dev$|^python')
    # The number of DPDK's binary interface is part of its packages' names. The poll-mode drivers of
    # igb and igbvf, and the memory pool that they take by default, are loaded at run time.
    abi=$(printf '%s\n' "${testpmd[@]}" | sed -n 's/^librte-eal//p')
    [[ -n $abi ]] || fail "Debian $release has no dpdk-dev with the usual dependencies"
    testpmd+=("librte-net-e1000-$abi" "librte-mempool-ring$abi")
    {
        host_apt --print-uris download "$kernel" | file_names
        guest_apt get --print-uris download dpdk-dev | file_names
        for part in "${parts[@]}"; do host_apt --print-uris download "$part" | file_names; done
        guest_apt get -o Dir::Cache::archives="$work/none" --print-uris -y install "${wanted[@]}" "${testpmd[@]}" | file_names
    } >"$work/names"
    (
        cd "$debs" &&
            host_apt -o APT::Sandbox::User=root -q download "$kernel" "${parts[@]}" &&
            guest_apt get -q download dpdk-dev &&
            guest_apt get -q -y --download-only install "${wanted[@]}" "${testpmd[@]}"
    ) >"$work/download.log" 2>&1 || { tail -n 20 "$work/download.log" >&2; return 1; }
    (cd "$debs" && xargs sha256sum) <"$work/names" >"$1"
}

# Sets parts to what a module for the kernel is compiled with: its source, and its headers in three packages. All four
# are made of one source package, so that their versions are the same. Another version's source would be compiled
# against structures that it doesn't know.
kernel_parts() {
    local headers=${kernel/linux-image-/linux-headers-} version name
    version=$(apt-cache policy "$headers" | awk '/^  Candidate:/ { print $2 }')
    mapfile -t parts < <(apt-cache depends "$headers" | awk '/ Depends: linux-(headers-.*-common|kbuild-)/ { print $2 }')
    name=${kernel#linux-image-}
    parts=("linux-source-$(cut -d. -f1,2 <<<"$name")" "$headers" "${parts[@]}")
    ((${#parts[@]} == 4)) || fail "$headers depends on other packages than expected: ${parts[*]}"
    for name in "${!parts[@]}"; do
        parts[name]+="=$version"
        apt-cache show "${parts[name]}" >/dev/null 2>&1 ||
            fail "there is no ${parts[name]} among apt's sources, and netdevsim can only be compiled from the source of the kernel's own version"
    done
}

# Are all files of a selection here, and whole?
complete() {
    [[ -s $1 ]] && (cd "$debs" && sha256sum --check --quiet) <"$1" >/dev/null 2>&1
}

unpack_rootfs() { # SELECTION
    local root=$work/rootfs dir tool name
    say "unpacking the root file system"
    mkdir -p "$root/usr"/{bin,sbin,lib,lib64}
    for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
    tail -n +7 "$1" | while read -r _ name; do
        dpkg-deb --fsys-tarfile "$debs/$name" |
            tar -x -C "$root" --keep-directory-symlink --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
                --exclude='./usr/share/locale/*' --exclude='./usr/share/info/*'
    done
    dpkg-deb --fsys-tarfile "$debs/$(awk 'NR == 2 { print $2 }' "$1")" | tar -x -C "$root" ./usr/bin/dpdk-testpmd

    # What maintainer scripts would have done, as far as it matters here.
    mkdir -p "$root"/{src,host,persist,vm,opt/cni,etc/cni/net.d,var/lib,var/log,var/tmp}
    cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
    cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
    sed -i 's/^root:\*:/root::/' "$root/etc/passwd"
    for name in iptables ip6tables; do
        for tool in "" -save -restore; do ln -sf xtables-nft-multi "$root/usr/sbin/$name$tool"; done
    done
    ln -sfn ../bin/busybox "$root/usr/sbin/init"
    ln -sfn gawk "$root/usr/bin/awk"
    ln -sfn which.debianutils "$root/usr/bin/which"
    ln -sfn /proc/self/mounts "$root/etc/mtab"
    # Some package brings one as a folder; a link would land in it. A runtime names namespaces below /var/run/netns.
    rm -rf "$root"/var/{run,lock}
    ln -s /run "$root/var/run"
    ln -s /run/lock "$root/var/lock"
    echo 'nameserver 10.0.2.3' >"$root/etc/resolv.conf"
    printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
    mv "$root/usr/lib/cni" "$root/opt/cni/bin"
    cp "$recipe/guest/inittab" "$root/etc/inittab"
    install -m 755 "$recipe"/guest/{boot,agent,job} "$root/vm/"
    chroot "$root" ldconfig
    if chroot "$root" ldd /usr/bin/dpdk-testpmd | grep 'not found' >&2; then
        fail "dpdk-testpmd lacks libraries (see above)"
    fi
}

# Debian's kernel image holds the ELF kernel compressed; QEMU starts that directly through its
# PVH entry, which saves the guest from unpacking it in emulation.
unpack_vmlinux() { # VMLINUZ
    local sectors offset length
    sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$1")
    read -r offset length < <(od -An -tu4 -j $((0x248)) -N 8 "$1")
    local start=$(((${sectors// /} == 0 ? 5 : sectors + 1) * 512 + offset + 1))
    local magic unpack
    magic=$(od -An -tx1 -j $((start - 1)) -N 4 "$1" | tr -d ' ')
    case $magic in
    28b52ffd) unpack=(zstd -dc) ;;
    fd377a58) unpack=(xz -dc --single-stream) ;;
    1f8b*) unpack=(gzip -dc) ;;
    *) fail "the kernel $1 is packed in an unknown way ($magic)" ;;
    esac
    # The length of what follows is appended to the packed kernel, which unpackers call an error.
    tail -c "+$start" "$1" | head -c "$length" | "${unpack[@]}" >"$work/vmlinux" 2>/dev/null || true
    [[ $(head -c 4 "$work/vmlinux" | tail -c 3) == ELF ]] || fail "the kernel $1 cannot be unpacked"
}

# Compiles netdevsim, once for each version of the kernel.
make_netdevsim() { # SELECTION KERNEL-VERSION
    local files source headers common needed built=$vm/netdevsim-$2.ko dir=$work/netdevsim
    mapfile -t files < <(awk 'NR >= 3 && NR <= 6 { print $2 }' "$1")
    [[ ! -e $built ]] || return 0
    say "compiling netdevsim"
    mapfile -t needed < <(for name in "${files[@]:1}"; do dpkg-deb -f "$debs/$name" Depends; done |
        grep -oE '\b(gcc-[0-9]+|libelf[a-z0-9]+|libssl[a-z0-9]+)\b' | sort -u)
    "$recipe/../apt-install" make "${needed[@]}"
    mkdir -p "$dir"
    for name in "${files[@]:1}"; do dpkg-deb -x "$debs/$name" "$dir"; done
    headers=$dir/usr/src/linux-headers-$2 common=$dir/usr/src/linux-headers-${2%-amd64}-common
    source=$(dpkg-deb -c "$debs/${files[0]}" | awk '/\.tar\.xz$/ { print $NF }')
    dpkg-deb --fsys-tarfile "$debs/${files[0]}" | tar -x -O "$source" | xz -dc |
        tar -x -C "$dir" --strip-components=3 --wildcards '*/drivers/net/netdevsim/*'
    # The headers' own makefile names them where their package puts them. Type information is for programs in the
    # kernel, and its compiler isn't here.
    nice make -C "$headers" -f "$common/Makefile" M="$dir/netdevsim" CONFIG_NETDEVSIM=m CONFIG_DEBUG_INFO_BTF_MODULES= \
        -j "$(nproc)" modules >"$work/netdevsim.log" 2>&1 || { cat "$work/netdevsim.log" >&2; fail "netdevsim cannot be compiled (see above)"; }
    strip --strip-debug -o "$built.new" "$dir/netdevsim/netdevsim.ko"
    mv "$built.new" "$built"
    rm -rf "$dir"
}

unpack_kernel() { # SELECTION
    local kernel=$work/kernel version all kept file path name
    say "unpacking the kernel"
    dpkg-deb -x "$debs/$(awk 'NR == 1 { print $2 }' "$1")" "$kernel"
    version=$(cd "$kernel/boot" && echo vmlinuz-*)
    version=${version#vmlinuz-}
    unpack_vmlinux "$kernel/boot/vmlinuz-$version"

    [[ -d $kernel/lib ]] || ln -s usr/lib "$kernel/lib"
    make_netdevsim "$1" "$version"
    install -D -m 644 "$vm/netdevsim-$version.ko" "$kernel/lib/modules/$version/extra/netdevsim.ko"
    all=$kernel/lib/modules/$version kept=$work/rootfs/usr/lib/modules/$version
    depmod -b "$kernel" "$version"
    mkdir -p "$kept"
    cp "$all"/modules.{order,builtin,builtin.modinfo} "$kept/"
    sed -i -E 's/\.(xz|zst)$//' "$kept/modules.order"
    for name in $(sed 's/#.*//' "$recipe/modules"); do
        modprobe -d "$kernel" -S "$version" --show-depends "$name" 2>/dev/null || say "this kernel has no module $name"
    done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r file; do
        path=$kept/${file#*"/lib/modules/$version/"}
        mkdir -p "$(dirname "$path")"
        case $file in
        *.xz) xz -dc "$file" >"${path%.xz}" ;;
        *.zst) zstd -qdc "$file" >"${path%.zst}" ;;
        *) cp "$file" "$path" ;;
        esac
    done
    depmod -b "$work/rootfs" "$version"
    pack_initrd "$version"
    rm -rf "$kernel"
}

# Just enough to mount the root file system: its driver and its type are modules.
pack_initrd() { # VERSION
    local dir=$work/initrd file name order=()
    mkdir -p "$dir"/{bin,dev,proc,root,modules}
    cp "$work/rootfs/usr/bin/busybox" "$dir/bin/"
    ln -s busybox "$dir/bin/sh"
    for name in virtio_pci virtio_blk ext4; do
        while read -r file; do
            [[ -e $dir/modules/${file##*/} ]] && continue
            cp "$file" "$dir/modules/"
            order+=("${file##*/}")
        done < <(modprobe -d "$work/rootfs" -S "$1" --show-depends "$name" | awk '$1 == "insmod" { print $2 }')
    done
    cat >"$dir/init" <<EOF
#!/bin/sh
busybox mount -t devtmpfs dev /dev
for module in ${order[*]}; do busybox insmod /modules/\$module; done
until [ -b /dev/vda ]; do busybox usleep 10000; done
busybox mount -t ext4 -o noatime /dev/vda /root || exit 1
busybox mount --move /dev /root/dev
exec busybox switch_root /root /sbin/init
EOF
    chmod 755 "$dir/init"
    (cd "$dir" && find . | cpio -o -H newc --quiet) >"$work/initrd.img"
    rm -rf "$dir"
}

pack_image() {
    say "packing the disk"
    truncate -s 10G "$work/root.ext4"
    # Every boot starts from a throw-away snapshot: a journal would only cost time.
    mkfs.ext4 -q -O '^has_journal' -E lazy_itable_init=1,nodiscard -m 0 -d "$work/rootfs" "$work/root.ext4"
}

[[ -e $image/root.ext4 ]] && exit
exec 8>"$vm/lock"
if ! flock -n 8; then
    say "waiting for another build of the VM node"
    flock 8
fi
[[ -e $image/root.ext4 ]] && exit
started=$SECONDS
work=$vm/building
debs=$vm/debs
rm -rf "$work" # of a build that was interrupted: nobody else holds the lock
mkdir -p "$work" "$debs"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
set -E
trap 'say "the build failed in ${FUNCNAME[0]:-build.sh}, line $LINENO"' ERR

host_packages
# Packages once chosen are kept, so that a change elsewhere in the recipe needs no network.
selection=$vm/selection-$(cat "$recipe/packages" <(echo "$release, netdevsim") | sha256sum | cut -c1-16)
if ! complete "$selection"; then
    download "$work/selection" || fail "packages could not be downloaded (see above)"
    mv "$work/selection" "$selection"
fi
unpack_rootfs "$selection"
unpack_kernel "$selection"
pack_image
mv -T "$work" "$image"
# Images of older recipes that nobody started for a week.
find "$vm" -maxdepth 1 -name 'image-*' ! -path "$image" -mtime +7 -exec rm -rf {} +
say "built the VM node in $((SECONDS - started)) s"
