# shellcheck shell=bash disable=SC2154
# How checks are run and told. Sourced by hack/e2e; keeps its state in $work.

stage() { printf '\n== %s\n' "$*"; }

# check NAME COMMAND…: one result. What the command prints is shown when it fails. Functions run with errexit on, so
# never call this in a condition.
check() {
    local name=$1 began=$SECONDS status
    shift
    set +e
    (
        set -e
        "$@"
    ) >"$work/output" 2>&1
    status=$?
    set -e
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
        printf 'ok   %s (%d s)\n' "$name" $((SECONDS - began))
    else
        failed=$((failed + 1))
        printf 'FAIL %s\n' "$name"
        tail -n 25 "$work/output" | sed 's/^/     /'
    fi
}

# need NAME COMMAND…: a check without which nothing after it makes sense.
need() {
    local before=$failed
    check "$@"
    [ "$failed" = "$before" ] || { printf 'nothing after this can work; ending here\n'; exit 1; }
}

# within SECONDS COMMAND…: tries until it succeeds; the last try's output is what is left to see.
within() {
    local end=$((SECONDS + $1)) output
    shift
    until output=$("$@" 2>&1); do
        if [ "$SECONDS" -ge "$end" ]; then
            printf '%s\n' "$output"
            return 1
        fi
        sleep 1
    done
}

# same WHAT WANTED FOUND
same() {
    [ "$2" = "$3" ] || { printf '%s: wanted %s, found %s\n' "$1" "${2:-nothing}" "${3:-nothing}"; return 1; }
}

# What a person needs to see when something failed.
evidence() {
    stage "what is there"
    kubectl get nodes,daemonsets,pods -A -o wide 2>&1 || true
    kubectl get events -A --sort-by=.lastTimestamp 2>&1 | tail -n 30 || true
    kubectl -n patchbay logs daemonset/patchbay --all-containers --prefix --tail=60 2>&1 || true
    for pod in $(kubectl get pods -o name 2>/dev/null); do
        stage "$pod"
        kubectl describe "$pod" 2>&1 | tail -n 40 || true
        kubectl logs "$pod" --tail=20 2>&1 || true
    done
    for log in kubelet containerd; do
        stage "the end of $log's log"
        tail -n 40 "$cluster/node/$log.log" 2>/dev/null | cut -c1-400 || true
    done
    stage "the node"
    guest bash -c 'ip -d link show enp1s0; ip -d link show enp2s0; head -n 20 /run/patchbay/vf/*.state; ls -l /etc/cni/net.d /opt/cni/bin; dmesg | tail -n 15' 2>&1 || true
}
