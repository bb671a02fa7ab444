# shellcheck shell=bash disable=SC2154
# Patchbay on the cluster, put there the way docs/install.md tells.

deploy() {
    # This cluster has no kube-proxy, so the API server's service address leads nowhere.
    kubectl apply -f deployments/namespace.yaml
    kubectl -n patchbay create configmap patchbay-apiserver \
        --from-literal=KUBERNETES_SERVICE_HOST="$API_HOST" --from-literal=KUBERNETES_SERVICE_PORT="$API_PORT"
    kubectl apply -k deployments
}

rolled_out() { kubectl -n patchbay rollout status daemonset/patchbay --timeout=240s; }

allocatable() {
    kubectl get node "$vm" -o json |
        jq -r '.status.allocatable | [.["intel.com/sriov_a", "intel.com/sriov_b", "intel.com/sriov_dpdk"] // "-"] | join(" ")'
}

all_allocatable() { same "sriov_a, sriov_b, sriov_dpdk allocatable" "3 3 2" "$(allocatable)"; }

# The installed file names the cluster's own network as the default one, and that file stays.
installed() {
    guest bash -ec 'cd /etc/cni/net.d; ls -l . /opt/cni/bin; test -s 00-patchbay.conflist; test -s 10-default.conflist
        test -x /opt/cni/bin/patchbay; test -x /opt/cni/bin/sriov'
}

node_stays_ready() { kubectl get node "$vm" -o json | jq -e '.status.conditions[] | select(.type == "Ready") | .status == "True"'; }

deploy_stage() {
    stage "Patchbay is deployed"
    guest /src/hack/e2e.d/vfs >"$work/vfs.before"
    need "the VFs are as the pools want them" jq -e 'length == 8 and ([.[] | select(.driver == "vfio-pci")] | length == 2)' "$work/vfs.before"
    need "deployments/ is applied" deploy
    need "the DaemonSet is rolled out" rolled_out
    need "kubelet shows the pools: 3 + 3 kernel VFs, 2 for DPDK" within 120 all_allocatable
    check "the CNI plugins and 00-patchbay.conflist are installed" within 60 installed
    check "the node stays Ready" node_stays_ready
    check "VFs are untouched" same_vfs
}

# Every VF as it was before Patchbay came.
same_vfs() {
    guest /src/hack/e2e.d/vfs >"$work/vfs.now" && diff -u "$work/vfs.before" "$work/vfs.now"
}
