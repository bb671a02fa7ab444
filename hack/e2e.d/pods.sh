# shellcheck shell=bash disable=SC2154,SC2016
# The pods of examples/, from their networks to their end.

ready() { kubectl wait pod/"$1" --for=condition=Ready --timeout=240s; }

status_of() { kubectl get pod "$1" -o json | jq -e '.metadata.annotations["k8s.v1.cni.cncf.io/network-status"] | fromjson'; }

# device_of POD RESOURCE [CONTAINER]: the PCI address that kubelet allocated, as the container's environment has it
device_of() { kubectl exec "$1" ${3:+-c "$3"} -- sh -c "echo \"\$PCIDEVICE_INTEL_COM_$2\"" | grep .; }

# vf_is PCI JQ-CONDITION: how the PF sees a VF while a pod has it
vf_is() {
    guest /src/hack/e2e.d/vfs >"$work/vfs.now"
    jq -e --arg pci "$1" ".[] | select(.pci == \$pci) | $2" "$work/vfs.now" ||
        { jq --arg pci "$1" '.[] | select(.pci == $pci)' "$work/vfs.now"; return 1; }
}

# attached POD RESOURCE NETWORK VLAN: eth0 from the cluster and net1 on the VF that kubelet allocated, in the pod, in its
# network-status and as the PF sees it
attached() {
    local pod=$1 network=$3 vlan=$4 device interfaces on mac address
    # One call for all of it: each takes a second.
    kubectl exec "$pod" -- sh -c "
        echo \"\$PCIDEVICE_INTEL_COM_$2\"
        echo \$(ls /sys/class/net)
        basename \$(readlink /sys/class/net/net1/device)
        cat /sys/class/net/net1/address
        ip -4 addr show dev net1 | sed -nE 's|.*inet ([0-9.]+)/.*|\1|p'" >"$work/pod"
    cat "$work/pod"
    { read -r device; read -r interfaces; read -r on; read -r mac; read -r address; } <"$work/pod"
    same "its interfaces" "eth0 lo net1" "$interfaces"
    same "net1's device" "$device" "$on"
    status_of "$pod" | tee "$work/status"
    jq -e --arg network "default/$network" --arg device "$device" --arg address "$address" --arg mac "$mac" '
        length == 2
        and (.[0] | .interface == "eth0" and .default == true and (.ips | length == 1))
        and (.[1] | .name == $network and .interface == "net1" and .ips == [$address] and (.mac | ascii_downcase) == $mac
             and (.default | not) and .["device-info"].pci["pci-address"] == $device)' "$work/status"
    same "its IP, which is the default network's" "$(jq -r '.[0].ips[0]' "$work/status")" "$(kubectl get pod "$pod" -o jsonpath='{.status.podIP}')"
    vf_is "$device" "(.seen_by_pf.vlan_list[0].vlan // .seen_by_pf.vlan) == $vlan and .netdev == null"
}

# address_of POD: net1's IPv4 address, which `attached` has compared with the pod's own view
address_of() { status_of "$1" | jq -er '.[] | select(.interface == "net1").ips[0]'; }

# link_up POD: an emulated link takes two seconds or so
link_up() { same "net1's state" up "$(kubectl exec "$1" -- cat /sys/class/net/net1/operstate)"; }

# received POD ADDRESS COUNT: how many of COUNT pings are answered
received() { kubectl exec "$1" -- ping -c "$3" -i 0.2 -W 2 "$2" | tee /dev/stderr | sed -nE 's/.* ([0-9]+) packets received.*/\1/p'; }

reaches() { same "answers of $2 to 10 pings from $1" 10 "$(received "$1" "$(address_of "$2")" 10)"; }

reaches_not() { same "answers of $2 to 5 pings from $1" 0 "$(received "$1" "$(address_of "$2")" 5 || true)"; }

# The same over eth0: the default network has not suffered.
reaches_by_default() { same "answers on eth0" 5 "$(received "$1" "$(kubectl get pod "$2" -o jsonpath='{.status.podIP}')" 5)"; }

dpdk_mac=02:00:00:00:64:01

# For DPDK: no interface, but the VF's group, its address in the environment, and its settings on the PF
attached_for_dpdk() {
    local device group interfaces vfio
    kubectl exec dpdk -- sh -c 'echo "$PCIDEVICE_INTEL_COM_SRIOV_DPDK"; echo $(ls /sys/class/net); echo $(ls /dev/vfio)' >"$work/pod"
    cat "$work/pod"
    { read -r device; read -r interfaces; read -r vfio; } <"$work/pod"
    same "its interfaces" "eth0 lo" "$interfaces"
    group=$(guest readlink "/sys/bus/pci/devices/$device/iommu_group" | sed 's|.*/||')
    same "its vfio devices" "$group vfio" "$vfio"
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

no_records() {
    local left
    left=$(guest bash -c 'cd /var/lib/patchbay && find . -type f') && same "records of attachments and intents" "" "$left"
}

returned() {
    check "every VF equals its baseline, as its PF sees it" within 60 same_vfs
    check "the ledger has no claims" within 120 no_claims
    check "host-local has no leases of the VFs' networks" no_leases
    check "patchbayd has no record of an attachment" no_records
    check "kubelet shows all VFs allocatable" within 30 all_allocatable
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
    check "web pings other over the default network: 5 of 5" reaches_by_default web other
    check "dpdk: testpmd probes the VF and receives" within 60 testpmd_forwards
    check "dpdk counts exactly the 25 packets that web sends to its MAC" counts_exactly
}

end_stage() {
    stage "pods give their VFs back"
    check "the pods are deleted" kubectl delete pods --all --timeout=180s
    returned
}

# Two networks of one resource: each gets a VF of its own, in the order of containers. The device of an init container is
# its pod's, too: kubelet gives it to the first container that asks.
pair() {
    kubectl apply -f - <<'Y'
apiVersion: v1
kind: Pod
metadata:
  name: pair
  namespace: default
  annotations:
    k8s.v1.cni.cncf.io/networks: '[{"name": "vlan100-b", "interface": "data0"}, {"name": "vlan200-b"}]'
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: zero
    image: patchbay.example/busybox:v1
    command: ["/bin/sh", "-c", "echo $PCIDEVICE_INTEL_COM_SRIOV_B; ls /sys/class/net"]
    resources: {limits: {intel.com/sriov_b: "1"}}
  containers:
  - name: two
    image: patchbay.example/busybox:v1
    command: ["/bin/busybox", "sleep", "86400"]
    resources: {limits: {intel.com/sriov_b: "1"}}
  - name: one
    image: patchbay.example/busybox:v1
    command: ["/bin/busybox", "sleep", "86400"]
    resources: {limits: {intel.com/sriov_b: "1"}}
Y
    ready pair
    local first second
    first=$(device_of pair SRIOV_B two)
    second=$(device_of pair SRIOV_B one)
    printf '%s %s\n' "$first" "$second"
    [ "$first" != "$second" ]
    same "what the init container saw" "$first data0 eth0 lo net2" "$(kubectl logs pair -c zero | xargs)"
    same "devices of data0 and net2" "$first $second" \
        "$(kubectl exec pair -c one -- sh -c 'for i in data0 net2; do basename $(readlink /sys/class/net/$i/device); done' | xargs)"
    status_of pair | tee "$work/status"
    same "networks in its status" "eth0 data0:$first net2:$second" \
        "$(jq -r '.[] | .interface + (if .["device-info"] then ":" + .["device-info"].pci["pci-address"] else "" end)' "$work/status" | xargs)"
    remove pair
}

several_stage() {
    stage "a pod with two networks of one resource"
    check "each network has the VF of its container, in order" pair
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
    end_stage
}
