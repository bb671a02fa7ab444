# shellcheck shell=bash disable=SC2154
# Pods that can't be served: the event names what is wrong, nothing half done stays, and the pod goes away again.

# refused_pod NAME NETWORKS: a pod that asks for networks, and for the device in $limits if any
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
  - {name: main, image: "patchbay.example/busybox:v1", command: [/bin/busybox, sleep, "86400"], resources: {limits: {${limits:-}}}}
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
    # shellcheck disable=SC2064
    trap "remove $pod" EXIT
    within 120 event_names "$pod" "default/$pod" "$@"
    same "its phase" Pending "$(kubectl get pod "$pod" -o jsonpath='{.status.phase}')"
}

# Its device is allocated, and refused to be configured: it has to come back all the same.
refused_network() {
    local limits='intel.com/sriov_a: "1"'
    kubectl apply -f - <<'Y'
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: wrong-vlan, namespace: default, annotations: {k8s.v1.cni.cncf.io/resourceName: intel.com/sriov_a}}
spec: {config: '{"cniVersion": "1.0.0", "name": "wrong-vlan", "type": "sriov", "vlan": 5000}'}
Y
    refused wrong-network wrong-vlan default/wrong-vlan '"vlan"' 4094
}

refused_stage() {
    stage "pods that cannot be served"
    check "a network whose device was not requested" refused no-device vlan100-a default/vlan100-a intel.com/sriov_a
    check "a network that does not exist" refused no-network absent default/absent
    check "an annotation that cannot be read" refused bad-annotation '[{"name": "vlan100-a",' k8s.v1.cni.cncf.io/networks
    check "a network whose configuration cannot be" refused_network
    returned
}
