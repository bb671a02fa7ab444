# shellcheck shell=bash disable=SC2154
# The pods of examples/, from their networks to their end.

ready() { kubectl wait pod/"$1" --for=condition=Ready --timeout=240s; }

status_of() { kubectl get pod "$1" -o json | jq -e '.metadata.annotations["k8s.v1.cni.cncf.io/network-status"] | fromjson'; }

# device_of POD RESOURCE: the PCI address that kubelet allocated, as the container's environment has it
device_of() { kubectl exec "$1" -- printenv "PCIDEVICE_INTEL_COM_$2"; }

# vf_is PCI JQ-CONDITION: how the PF sees a VF while a pod has it
vf_is() {
    guest /src/hack/e2e.d/vfs >"$work/vfs.now"
    jq -e --arg pci "$1" ".[] | select(.pci == \$pci) | $2" "$work/vfs.now" ||
        { jq --arg pci "$1" '.[] | select(.pci == $pci)' "$work/vfs.now"; return 1; }
}

# attached POD RESOURCE NETWORK VLAN: eth0 from the cluster and net1 on the VF that kubelet allocated, in the pod, in its
# network-status and as the PF sees it
attached() {
    local pod=$1 network=$3 vlan=$4 device address mac
    device=$(device_of "$pod" "$2")
    same "its interfaces" "eth0 lo net1 " "$(kubectl exec "$pod" -- ls /sys/class/net | sort | tr '\n' ' ')"
    same "net1's device" "$device" "$(kubectl exec "$pod" -- readlink /sys/class/net/net1/device | sed 's|.*/||')"
    status_of "$pod" | tee "$work/status"
    address=$(address_of "$pod")
    mac=$(kubectl exec "$pod" -- cat /sys/class/net/net1/address)
    jq -e --arg network "default/$network" --arg device "$device" --arg address "$address" --arg mac "$mac" '
        length == 2
        and (.[0] | .interface == "eth0" and .default == true and (.ips | length == 1))
        and (.[1] | .name == $network and .interface == "net1" and .ips == [$address] and (.mac | ascii_downcase) == $mac
             and (.default | not) and .["device-info"].pci["pci-address"] == $device)' "$work/status"
    same "its IP, which is the default network's" "$(jq -r '.[0].ips[0]' "$work/status")" "$(kubectl get pod "$pod" -o jsonpath='{.status.podIP}')"
    vf_is "$device" "(.seen_by_pf.vlan_list[0].vlan // .seen_by_pf.vlan) == $vlan and .netdev == null"
}

# address_of POD: net1's IPv4 address in the pod
address_of() { kubectl exec "$1" -- ip -4 addr show dev net1 | sed -nE 's|.*inet ([0-9.]+)/.*|\1|p' | grep .; }

# link_up POD: an emulated link takes two seconds or so
link_up() { same "net1's state" up "$(kubectl exec "$1" -- cat /sys/class/net/net1/operstate)"; }

# received POD ADDRESS COUNT: how many of COUNT pings are answered
received() { kubectl exec "$1" -- ping -c "$3" -W 2 "$2" | tee /dev/stderr | sed -nE 's/.* ([0-9]+) packets received.*/\1/p'; }

reaches() { same "answers of $2 to 10 pings from $1" 10 "$(received "$1" "$(address_of "$2")" 10)"; }

reaches_not() { same "answers of $2 to 3 pings from $1" 0 "$(received "$1" "$(address_of "$2")" 3 || true)"; }

# The same over eth0: the default network has not suffered.
reaches_by_default() { same "answers on eth0" 3 "$(received "$1" "$(kubectl get pod "$2" -o jsonpath='{.status.podIP}')" 3)"; }

dpdk_mac=02:00:00:00:64:01

# For DPDK: no interface, but the VF's group, its address in the environment, and its settings on the PF
attached_for_dpdk() {
    local device group
    device=$(device_of dpdk SRIOV_DPDK)
    same "its interfaces" "eth0 lo " "$(kubectl exec dpdk -- ls /sys/class/net | sort | tr '\n' ' ')"
    group=$(guest readlink "/sys/bus/pci/devices/$device/iommu_group" | sed 's|.*/||')
    same "its vfio devices" "$group vfio " "$(kubectl exec dpdk -- ls /dev/vfio | sort | tr '\n' ' ')"
    status_of dpdk | tee "$work/status"
    jq -e --arg device "$device" 'length == 2 and (.[1] | .name == "default/vlan100-dpdk" and .["device-info"].pci["pci-address"] == $device)' "$work/status"
    vf_is "$device" "(.seen_by_pf.vlan_list[0].vlan // .seen_by_pf.vlan) == 100 and .seen_by_pf.address == \"$dpdk_mac\" and .driver == \"vfio-pci\""
}

# testpmd says that it found nothing and goes on: only its words count, not that it runs.
testpmd_forwards() {
    kubectl logs dpdk >"$work/testpmd.log"
    grep -i "Port 0: $dpdk_mac" "$work/testpmd.log" && grep "rxonly packet forwarding - ports=1" "$work/testpmd.log"
}

# How many packets to the VF's MAC testpmd has logged
counted() { kubectl logs dpdk | grep -ic "dst=$dpdk_mac" || true; }

count_is() { same "packets counted by testpmd" "$1" "$(counted)"; }

# web sends a number of pings to the MAC of dpdk, which answers no ARP and no ping; testpmd logs each.
counts_exactly() {
    local number=25
    count_is 0
    kubectl exec web -- arp -i net1 -s 10.100.0.250 "$dpdk_mac"
    same "answers of testpmd" 0 "$(received web 10.100.0.250 "$number" || true)"
    within 20 count_is "$number"
    sleep 3
    count_is "$number"
}

# Kubelet lets a pod's object go once the runtime has torn its sandbox down.
remove() { kubectl delete pod "$@" --timeout=180s; }

no_claims() {
    local left
    left=$(guest bash -c 'cd /run/patchbay/vf && find . -name "*.state" -exec cat {} +') && same "devices in the ledger that are not free" "" "$left"
}

no_leases() {
    local left
    left=$(guest find /var/lib/cni/networks -path '*/vlan*/10.*') && same "leases" "" "$left"
}

returned() {
    check "every VF equals its baseline, as its PF sees it" within 60 same_vfs
    check "the ledger has no claims" within 120 no_claims
    check "host-local has no leases of the VFs' networks" no_leases
    check "kubelet shows all VFs allocatable" all_allocatable
}

start_pods() {
    local pod
    for pod in "$@"; do kubectl apply -f "examples/$pod.yaml"; done
}

pods_stage() {
    stage "pods get their VFs"
    need "the networks of examples/ are applied" kubectl apply -f examples/networks.yaml
    need "every file of examples/ is applied" kubectl apply -f examples/
    local pod
    for pod in web peer other dpdk; do need "$pod is Ready" ready "$pod"; done
    check "web: net1 on VLAN 100 is the VF that kubelet allocated" attached web SRIOV_A vlan100-a 100
    check "peer: net1 on VLAN 100, on the other PF" attached peer SRIOV_B vlan100-b 100
    check "other: net1 on VLAN 200" attached other SRIOV_B vlan200-b 200
    check "dpdk: the VF's vfio group and its settings on VLAN 100" attached_for_dpdk
    for pod in web peer other; do check "$pod: net1 has its link" within 60 link_up "$pod"; done
    check "web pings peer over the wire: 10 of 10" reaches web peer
    check "peer pings web: 10 of 10" reaches peer web
    check "other cannot reach web" reaches_not other web
    check "web cannot reach other" reaches_not web other
    check "web pings other over the default network: 3 of 3" reaches_by_default web other
    check "dpdk: testpmd probes the VF and receives" within 60 testpmd_forwards
    check "dpdk counts exactly the 25 packets that web sends to its MAC" counts_exactly
    check "the pods are deleted" remove web peer other dpdk
    returned
}

# With an empty folder where the pod-resources socket was, kubelet's checkpoint file is all that is left to read.
without_socket() {
    local index
    index=$(kubectl -n patchbay get daemonset patchbay -o json |
        jq '.spec.template.spec.volumes | map(.name) | index("pod-resources")')
    kubectl -n patchbay patch daemonset patchbay --type=json \
        -p "[{\"op\": \"replace\", \"path\": \"/spec/template/spec/volumes/$index\", \"value\": {\"name\": \"pod-resources\", \"emptyDir\": {}}}]"
    rolled_out
}

checkpoint_stage() {
    stage "the same from kubelet's checkpoint file"
    need "the pod-resources socket is taken away" without_socket
    need "kubelet shows the pools again" within 120 all_allocatable
    need "web and dpdk are applied again" start_pods web dpdk
    local pod
    for pod in web dpdk; do need "$pod is Ready" ready "$pod"; done
    check "web: net1 on VLAN 100 is the VF that kubelet allocated" attached web SRIOV_A vlan100-a 100
    check "dpdk: the VF's vfio group and its settings on VLAN 100" attached_for_dpdk
    check "web: net1 has its link" within 60 link_up web
    check "dpdk: testpmd probes the VF and receives" within 60 testpmd_forwards
    check "dpdk counts exactly the 25 packets that web sends to its MAC" counts_exactly
    check "the pods are deleted" remove web dpdk
    returned
}
