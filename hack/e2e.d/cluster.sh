# shellcheck shell=bash disable=SC2154
# The cluster without Patchbay: made, and shown to work, so that what fails later is ours.

# The guest's programs are given their deadline by hack/node.
guest() { hack/node exec --name "$vm" --timeout 300 -- "$@"; }

# Longer than any wait below: what hangs for good ends too, and its check fails.
kubectl() { timeout --foreground 300 kubectl "$@"; }

# pack NAME FILE ROOTFS: an image for the node to import
pack() { hack/cluster/image "$1" "$cluster/node/images/$2.tar" "$3"; }

start_cluster() {
    hack/cluster/up "$cluster" --node "$vm"
    deployments/image "$cluster/node/images/patchbay.tar"
    hack/vm/testpmd-rootfs "$work/testpmd"
    pack patchbay.example/testpmd:v1 testpmd "$work/testpmd"
    rm -rf "$work/testpmd"
}

start_node() {
    # shellcheck source=/dev/null
    . "$cluster/env"
    hack/node start --name "$vm" --pfs 2 --vfs 4 --share "$cluster/node" --forward "$KUBELET_PORT:$KUBELET_PORT"
    guest /src/hack/e2e.d/bind-vfio enp1s0 3 enp2s0 3
    guest /src/hack/cluster/kubelet start /host
}

stop_cluster() {
    hack/node stop --name "$vm" 2>/dev/null || true
    [ ! -d "$cluster" ] || hack/cluster/down "$cluster"
}

version_is_recent() {
    kubectl version -o json | jq -e '.serverVersion | (.minor | sub("[^0-9].*"; "") | tonumber) >= 34'
    kubectl get node "$vm" -o json | jq -e '.status.nodeInfo | .kubeletVersion >= "v1.34" and (.containerRuntimeVersion | startswith("containerd://2."))'
}

hugepages_are_there() { kubectl get node "$vm" -o json | jq -e '.status.allocatable["hugepages-2Mi"] | test("^[1-9]")'; }

plain_pod() {
    kubectl run plain --image=patchbay.example/busybox:v1 --restart=Never --command -- /bin/sh -c 'echo started; exec sleep 86400'
    kubectl wait pod/plain --for=condition=Ready --timeout=180s
    same "its interfaces" "eth0 lo " "$(kubectl exec plain -- ls /sys/class/net | sort | tr '\n' ' ')"
    same "its log" started "$(kubectl logs plain)"
    kubectl delete pod plain --grace-period=1 --timeout=120s
}

cluster_stage() {
    stage "building what is not there yet"
    hack/build
    hack/node build
    hack/cluster/build
    stage "a cluster without Patchbay"
    need "etcd, kube-apiserver, kube-scheduler and kube-controller-manager are up" start_cluster
    # shellcheck source=/dev/null
    . "$cluster/env"
    export KUBECONFIG PATH="$CLUSTER_BIN:$PATH"
    need "the VM boots; kubelet and containerd run in it" start_node
    need "the node is Ready" kubectl wait "node/$vm" --for=condition=Ready --timeout=180s
    check "Kubernetes 1.34 or newer, containerd 2" version_is_recent
    check "huge pages are allocatable" hugepages_are_there
    need "a pod on the default network runs; its log and exec work" plain_pod
}
