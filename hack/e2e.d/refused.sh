# shellcheck shell=bash disable=SC2154
# Pods that can't be served: the event names what is wrong, nothing half done stays, and the pod goes away again.

# refused_pod NAME NETWORKS: a pod that asks for networks and for no device
refused_pod() {
    kubectl apply -f - <<Y
apiVersion: v1
kind: Pod
metadata:
  name: $1
  namespace: default
  annotations: {k8s.v1.cni.cncf.io/networks: '$2'}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: "patchbay.example/busybox:v1", command: [/bin/busybox, sleep, "86400"]}
Y
}

# event_names POD WORD…: the reason that kubelet shows for the pod has every word
event_names() {
    local pod=$1 message word
    shift
    message=$(kubectl get events --field-selector "involvedObject.name=$pod,reason=FailedCreatePodSandBox" -o json |
        jq -r '.items[-1].message // empty')
    printf '%s\n' "${message:-no event}"
    for word in "$@"; do
        case $message in *"$word"*) ;; *) printf 'it does not name %s\n' "$word"; return 1 ;; esac
    done
}

# refused POD NETWORKS WORD…
refused() {
    local pod=$1 networks=$2
    shift 2
    refused_pod "$pod" "$networks"
    # Also after a failure: the pod would be tried again and again beneath what comes next.
    trap 'remove "$pod"' EXIT
    within 120 event_names "$pod" "default/$pod" "$@"
    same "its phase" Pending "$(kubectl get pod "$pod" -o jsonpath='{.status.phase}')"
}

refused_stage() {
    stage "pods that cannot be served"
    check "a network whose device was not requested" refused no-device vlan100-a default/vlan100-a intel.com/sriov_a
    check "a network that does not exist" refused no-network absent default/absent
    check "an annotation that cannot be read" refused bad-annotation '[{"name": "vlan100-a",' k8s.v1.cni.cncf.io/networks
    returned
}
