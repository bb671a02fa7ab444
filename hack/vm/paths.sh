# Where the VM node's parts are; sourced. Sets:
#   recipe  this folder                    vm     the VM's folder in the cache
#   image   what this recipe builds: vmlinux, initrd.img, root.ext4, rootfs/
# shellcheck shell=bash disable=SC2034
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
vm=${PATCHBAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/patchbay}/vm
mkdir -p "$vm"
vm=$(readlink -f "$vm")
# A changed recipe is another image: old and new can be in use side by side.
image=$vm/image-$(cd "$recipe" && sha256sum build.sh packages modules guest/* | sha256sum | cut -c1-16)
