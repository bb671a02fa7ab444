# shellcheck shell=bash disable=SC2154,SC2016
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
    guest bash -ec 'cd /etc/cni/net.d; ls -l . /opt/cni/bin; test -s 10-default.conflist
        test -x /opt/cni/bin/patchbay; test -x /opt/cni/bin/sriov
        test "$(ls | head -n 1)" = 00-patchbay.conflist
        jq -e ".plugins[0].type == \"patchbay\" and .plugins[0].clusterNetwork == \"/etc/cni/net.d/10-default.conflist\"" 00-patchbay.conflist'
}

node_is_ready() { kubectl get node "$vm" -o json | jq -e '.status.conditions[] | select(.type == "Ready") | .status == "True"'; }

# Manifests in the documentation: blocks that are marked as YAML and say what kind of object they are.
documented() {
    awk -v dir="$work/documented" '
        /^```ya?ml$/ { inside = 1; file = sprintf("%s/%03d.yaml", dir, ++number); next }
        /^```$/ { if (inside) close(file); inside = 0 }
        inside { print > file }' README.md docs/*.md
}

# Each on its own, as somebody would copy it, and read by the API server itself.
manifests_are_valid() {
    local file
    rm -rf "$work/documented"
    mkdir "$work/documented"
    documented
    for file in deployments/*.yaml examples/*.yaml "$work/documented"/*.yaml; do
        case $file in */kustomization.yaml) continue ;; esac
        grep -qE '^kind:' "$file" 2>/dev/null || continue
        kubectl apply --dry-run=server --validate=strict -f "$file"
    done
}

deploy_stage() {
    stage "Patchbay is deployed"
    guest /src/hack/e2e.d/vfs >"$work/vfs.before"
    need "the VFs are as the pools want them" jq -e 'length == 8 and ([.[] | select(.driver == "vfio-pci")] | length == 2)' "$work/vfs.before"
    need "deployments/ is applied" deploy
    need "the DaemonSet is rolled out" rolled_out
    need "kubelet shows the pools: 3 + 3 kernel VFs, 2 for DPDK" within 120 all_allocatable
    check "the CNI plugins and 00-patchbay.conflist are installed" within 60 installed
    check "the node stays Ready" node_is_ready
    check "every manifest of deployments/, examples/ and the documentation is valid" manifests_are_valid
    check "VFs are untouched" same_vfs
}

# Every VF as it was before Patchbay came.
same_vfs() {
    guest /src/hack/e2e.d/vfs >"$work/vfs.now" && diff -u "$work/vfs.before" "$work/vfs.now"
}
