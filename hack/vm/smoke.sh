#!/bin/bash
# Run by hack/node run hack/vm/smoke.sh: does the VM node have what everything else stands on?
# That a VF has registers, groups and drivers proves nothing alone: carrier and traffic do.
set -u
passed=0 failed=0
check() { # NAME COMMAND...
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "ok   $name"
        passed=$((passed + 1))
    else
        echo "FAIL $name: ${output##*$'\n'}"
        failed=$((failed + 1))
    fi
}
within() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}
not() { ! "$@"; }
has() { # PATTERN TEXT
    grep -qE -- "$1" <<<"$2" || { echo "$2" | tail -n 1; return 1; }
}

devices=/sys/bus/pci/devices
set_vfs() { echo "$2" >"$devices/$1/sriov_numvfs"; }
count() { [[ $(wc -l) == "$1" ]]; }

# The machine
check "root in /src, dist/bin first on PATH" test "$(id -u):$PWD:${PATH%%:*}" = "0:/src:/src/dist/bin"
check "/src is read-only" not touch /src/.smoke
check "/host is writable" sh -c 'echo x >/host/.smoke && rm /host/.smoke'
check "cgroup v2" test "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs
check "the clock is right" test "$(date +%Y)" -ge 2025
check "uplink has 10.0.2.15 and a default route" has 'default via 10.0.2.2 dev eth0' "$(ip -4 route; ip -4 -br addr show eth0 | grep -o '10.0.2.15/24')"
check "the uplink answers" ping -c 1 -W 10 10.0.2.2

# VFs
set_vfs 0000:01:00.0 0
set_vfs 0000:02:00.0 0
check "PFs are up with a carrier" test "$(cat $devices/0000:0[12]:00.0/net/*/operstate | xargs)" = "up up"
check "each PF takes 7 VFs" test "$(cat $devices/0000:0[12]:00.0/sriov_totalvfs | xargs)" = "7 7"
check "7 VFs on PF 0" set_vfs 0000:01:00.0 7
check "7 VFs on PF 1" set_vfs 0000:02:00.0 7
interfaces() { compgen -G "$devices/0000:0[12]:00.0/virtfn*/net/*" | count 14; }
check "14 VF interfaces" within 60 interfaces
check "an IOMMU group for each VF" count 14 < <(for vf in "$devices"/0000:0[12]:00.0/virtfn*; do readlink -f "$vf/iommu_group"; done | sort -u)

put() { # PCI NAMESPACE ADDRESS
    local link
    link=$(ls "$devices/$1/net")
    ip netns add "$2" && ip link set "$link" netns "$2" &&
        ip -n "$2" link set "$link" name net1 && ip -n "$2" addr add "$3/24" dev net1 && ip -n "$2" link set net1 up
}
carrier() { ip -n "$1" -br link show net1 | grep -qw LOWER_UP; }
check "VF 0 of PF 0 to a namespace" put 0000:01:10.0 a 10.9.0.1
check "VF 0 of PF 1 to a namespace" put 0000:02:10.0 b 10.9.0.2
check "VF 1 of PF 0 to a namespace" put 0000:01:10.2 c 10.9.0.3
for ns in a b c; do check "carrier of the VF in $ns" within 60 carrier $ns; done
reach() { within 30 ip netns exec "$1" ping -c 3 -i 0.3 -W 2 "$2"; }
check "VFs of two PFs reach each other over the wire" reach a 10.9.0.2
check "VFs of one PF reach each other" reach a 10.9.0.3

vlan() { ip link set "$(ls $devices/"$1"/net)" vf 0 vlan "$2"; }
vlan 0000:01:00.0 100
sleep 1
check "VLAN on one side: no traffic" not ip netns exec a ping -c 3 -i 0.3 -W 2 10.9.0.2
vlan 0000:02:00.0 100
check "the same VLAN on both sides: traffic" reach a 10.9.0.2

# DPDK: what its VF is sent is counted
vf=0000:01:10.4
echo vfio-pci >$devices/$vf/driver_override
echo $vf >$devices/$vf/driver/unbind
echo $vf >/sys/bus/pci/drivers_probe
check "vfio-pci takes a VF" test "$(basename "$(readlink -f $devices/$vf/driver)")" = vfio-pci
check "its group is a device" test -c "/dev/vfio/$(basename "$(readlink -f $devices/$vf/iommu_group)")"
ip link set "$(ls $devices/0000:01:00.0/net)" vf 2 mac 02:00:00:00:00:02
echo 64 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
check "hugepages can be reserved" test "$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages)" = 64
orders=$(mktemp -u) text=$(mktemp)
mkfifo "$orders"
timeout 180 stdbuf -oL dpdk-testpmd -l 0-1 -n 1 -a $vf -- -i --forward-mode=rxonly --total-num-mbufs=2048 <"$orders" >"$text" 2>&1 &
exec 5>"$orders"
check "testpmd starts" within 120 grep -q 'testpmd>' "$text"
printf 'show device info all\nstart\n' >&5
started() { grep -q '^ *rxonly packet forwarding' "$text"; }
check "testpmd forwards" within 60 started
drives() { grep -A 4 "Infos for device $vf" "$text" | grep -q net_e1000_igb_vf; }
check "testpmd drives the VF" within 60 drives
ip -n c neigh add 10.9.0.99 lladdr 02:00:00:00:00:02 dev net1
ip netns exec c ping -q -c 20 -i 0.2 -W 1 10.9.0.99 >/dev/null
sleep 1
echo stop >&5
received() { grep -oE 'RX-packets: [0-9]+' "$text" | tail -n 1; }
check "testpmd has its counts" within 60 received
echo quit >&5
exec 5>&-
wait
check "testpmd counts the 20 packets that were sent to it" has '^RX-packets: 20$' "$(received)"

# Containers
containerd >/tmp/containerd.log 2>&1 &
check "containerd 2 is up" within 60 ctr version
check "it is containerd 2" has 'containerd.* v?2\.' "$(containerd --version)"
overlay() { ctr plugins ls | grep -E 'snapshotter.* overlayfs .* ok'; }
check "its overlay snapshotter works" overlay
kill %1 2>/dev/null
for plugin in bridge host-local loopback portmap static tuning macvlan; do
    check "CNI plugin $plugin speaks 1.1.0" has '1\.1\.0' "$(/opt/cni/bin/$plugin --version 2>&1 </dev/null)"
done

# And back
ip -n a link set net1 netns 1
check "a VF comes back from its namespace" test -d /sys/class/net/net1
check "VFs go" set_vfs 0000:01:00.0 0
check "VFs are gone" not test -e $devices/0000:01:10.0

echo "$passed passed, $failed failed"
((failed == 0))
