# shellcheck shell=bash disable=SC2154,SC2016
# Patchbay and kubelet restarted, and Patchbay away, while pods have VFs.

# What must not change for running pods: their containers, the VFs, and the CNI configuration file (not even rewritten).
running() {
    kubectl get pods -n default --sort-by=.metadata.name -o json |
        jq '.items[] | select(.status.phase == "Running") | [.metadata.name, .metadata.uid, (.status.containerStatuses[] | .containerID, .restartCount)]'
    guest /src/hack/e2e.d/vfs
    guest bash -c 'cd /etc/cni/net.d && stat -c "%n %i %Y" * && cat 00-patchbay.conflist'
}

nothing_changed() { running >"$work/running.now" && diff -u "$work/running" "$work/running.now"; }

restart_patchbay() {
    local before
    before=$(kubectl -n patchbay get pods -o name)
    kubectl -n patchbay rollout restart daemonset/patchbay
    rolled_out
    [ "$before" != "$(kubectl -n patchbay get pods -o name)" ]
}

restart_kubelet() {
    guest /src/hack/cluster/kubelet stop
    guest /src/hack/cluster/kubelet start /host
}

# The node's allocatable devices stay in the API until kubelet reports anew: what counts is that each pool registered
# with either kubelet.
registered_twice() {
    local times
    times=$(kubectl -n patchbay logs daemonset/patchbay -c device-plugin | grep -c 'registered with kubelet')
    same "registrations of three pools" 6 "$times"
}

restart_stage() {
    stage "restarts while pods have VFs"
    running >"$work/running"
    need "the DaemonSet is restarted" restart_patchbay
    check "kubelet shows the pools again" within 120 all_allocatable
    check "containers, VFs and the CNI configuration are as they were" nothing_changed
    need "kubelet is restarted" restart_kubelet
    check "the node is Ready" within 120 node_is_ready
    check "the device plugin has registered again" within 120 registered_twice
    check "kubelet shows the pools again" within 120 all_allocatable
    check "containers, VFs and the CNI configuration are as they were" nothing_changed
    check "web pings peer: 10 of 10" reaches web peer
}

# on_nodes JSON: which nodes the DaemonSet runs on, besides what its manifest says
on_nodes() {
    kubectl -n patchbay patch daemonset patchbay --type=merge \
        -p "{\"spec\": {\"template\": {\"spec\": {\"nodeSelector\": {\"patchbay.example/away\": $1}}}}}"
}

no_daemon() { same "pods of the DaemonSet" "" "$(kubectl -n patchbay get pods -o name)"; }

go_away() { on_nodes '"yes"' && within 120 no_daemon; }

come_back() { on_nodes null && rolled_out; }

late_pod() {
    kubectl run late --image=patchbay.example/busybox:v1 --restart=Never \
        --overrides='{"spec": {"terminationGracePeriodSeconds": 1}}' --command -- /bin/busybox sleep 86400
}

# Containerd asks the plugins of the configuration for their STATUS; kubelet makes the node's condition of it.
network_is_reported_away() {
    local message
    message=$(kubectl get node "$vm" -o json | jq -r '.status.conditions[] | select(.type == "Ready" and .status == "False").message')
    printf '%s\n' "${message:-the node is Ready}"
    case $message in *patchbay*) ;; *) return 1 ;; esac
}

late_waits() { same "phase and address of a pod that came meanwhile" "Pending " "$(kubectl get pod late -o jsonpath='{.status.phase} {.status.podIP}')"; }

intent_is_kept() { guest bash -c 'ls -l /var/lib/patchbay/intents && [ -n "$(ls -A /var/lib/patchbay/intents)" ]'; }

# Of the claims those of other, web and dpdk are left, and of the leases one each on either VLAN.
peer_is_returned() {
    guest bash -c 'cd /run/patchbay/vf && cat *.state' | jq -r '.claim.pod.name' | sort | xargs >"$work/claims"
    same "pods in the ledger" "dpdk other web" "$(cat "$work/claims")"
    same "leases of peer's network" "" "$(guest find /var/lib/cni/networks/vlan100-b -name '10.*')"
}

away_stage() {
    stage "Patchbay is away while pods come and go"
    need "the DaemonSet has left the node" go_away
    check "containers, VFs and the CNI configuration are as they were" nothing_changed
    check "a pod is created" late_pod
    check "peer can be deleted" remove peer
    check "its return is on disk as something to do" intent_is_kept
    check "after a grace time the node says that Patchbay is away" within 180 network_is_reported_away
    check "the new pod has not started without its networks" late_waits
    need "the DaemonSet is back" come_back
    check "the node is Ready" within 120 node_is_ready
    check "peer's VF and address are returned" within 120 peer_is_returned
    check "the new pod runs now" ready late
    check "the pools are whole" within 120 all_allocatable
}
