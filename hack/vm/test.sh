#!/usr/bin/env bash
# Tests hack/node itself, from outside: what it promises to those who call it. Takes a few minutes.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
passed=0 failed=0
tmp=$(mktemp -d)
vm=self-test-$$
port=$((20000 + $$ % 10000))
trap 'hack/node stop --name "$vm" >/dev/null 2>&1 || true; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

check() { # NAME EXPECTED GOT
    if [[ $2 == "$3" ]]; then
        echo "ok   $1"
        passed=$((passed + 1))
    else
        printf 'FAIL %s: expected %q, got %q\n' "$1" "$2" "$3"
        failed=$((failed + 1))
    fi
}
code() { # COMMAND...: its exit code
    local rc=0
    "$@" >"$tmp/out" 2>"$tmp/err" || rc=$?
    echo "$rc"
}
in_vm() { hack/node exec --name "$vm" "$@"; }
processes() { pgrep -fc -- "-name $1 " || true; }

hack/node build
check "a wrong option is told" 64 "$(code hack/node run --pfs many -- true)"
check "no VM of that name" 125 "$(code in_vm -- true)"

# One boot for all that a run promises.
printf '#!/bin/bash\necho "$1 $PWD ${PATH%%%%:*}"; echo problem >&2; exit 42\n' >"$tmp/script"
check "run gives the exit code" 42 "$(code hack/node run "$tmp/script" 'two words')"
check "standard output is the program's alone" "two words /src /src/dist/bin" "$(<"$tmp/out")"
check "so is standard error" problem "$(<"$tmp/err")"

# A VM that stays.
disk=$tmp/disk
check "start" 0 "$(code hack/node start --name "$vm" --disk "$disk" --vfs 2 --share "$tmp" --forward "$port:80")"
check "a second one of that name is refused" 125 "$(code hack/node start --name "$vm")"
check "VFs are there" 4 "$(in_vm -- bash -c 'ls -d /sys/bus/pci/devices/0000:0[12]:00.0/virtfn*/net/* | wc -l')"
codes='' expected=''
for rc in 0 1 77 124 126; do
    codes+=" $(code in_vm -- bash -c "exit $rc")" expected+=" $rc"
done
check "exit codes come through" "$expected" "$codes"
check "arguments arrive as they are" "a b|*|\$x|'|" "$(in_vm -- printf '%s|' 'a b' '*' '$x' "'")"
seq 1 300000 >"$tmp/numbers"
check "long output arrives whole" "$(md5sum <"$tmp/numbers")" "$(in_vm -- seq 1 300000 | md5sum)"
check "standard input is handed on" "$(md5sum <"$tmp/numbers")" "$(in_vm --stdin -- md5sum <"$tmp/numbers")"
check "both streams in one place keep their order" "$(printf '%s\n' 1 2 3 4)" \
    "$(in_vm -- bash -c 'echo 1; echo 2 >&2; echo 3; echo 4 >&2' 2>&1)"
check "/dev/stdout can be opened anew" "$(printf '%s\n' 1 2 3)" "$(in_vm -- bash -c 'echo 1; echo 2 >/dev/stdout; echo 3')"
check "a daemon that is left behind holds nothing up" started "$(timeout 60 hack/node exec --name "$vm" -- bash -c 'sleep 1000 & echo started')"
check "SIGINT is not ignored" 130 "$(code in_vm -- bash -c 'kill -INT $$; sleep 5')"
pids=()
for i in 1 2 3 4; do
    in_vm -- bash -c "sleep 2; echo job $i; exit $i" >"$tmp/job.$i" &
    pids+=($!)
done
codes=''
for i in 1 2 3 4; do
    rc=0
    wait "${pids[i - 1]}" || rc=$?
    codes+=" $rc:$(<"$tmp/job.$i")"
done
check "several at once" " 1:job 1 2:job 2 3:job 3 4:job 4" "$codes"
check "too long: no result" 125 "$(code in_vm --timeout 2 -- sleep 987)"
check "and it is ended in the guest" 1 "$(code in_vm -- pgrep -fx 'sleep 987')"
check "/host is the folder that was named" "$(md5sum <"$tmp/numbers")" "$(in_vm -- bash -c 'md5sum </host/numbers')"
in_vm -- bash -c 'mkdir /tmp/www; echo hello >/tmp/www/index.html; busybox httpd -p 80 -h /tmp/www'
check "a forwarded port leads to the guest" hello "$(exec 3<>"/dev/tcp/127.0.0.1/$port"; printf 'GET / HTTP/1.0\r\n\r\n' >&3; tail -n 1 <&3)"

# The power cut: what was flushed is there, what was not is lost, and so is all that is not on the disk.
in_vm -- bash -c 'echo kept >/persist/flushed; sync /persist/flushed /persist; echo x >/root/gone
    echo lost >/persist/not-flushed; echo again >/tmp/gone'
check "reset" 0 "$(code hack/node reset --name "$vm")"
check "what was flushed is there" kept "$(in_vm -- cat /persist/flushed)"
check "what was not is lost" "" "$(in_vm -- bash -c 'cat /persist/not-flushed 2>/dev/null; ls /root/gone /tmp/gone 2>/dev/null' || true)"
check "the disk has a journal" 1 "$(in_vm -- bash -c 'dumpe2fs -h "$(findmnt -no SOURCE /persist)" 2>/dev/null' | grep -c has_journal)"
in_vm -- bash -c 'echo late >/persist/late'
check "stop" 0 "$(code hack/node stop --name "$vm")"
check "no process is left" 0 "$(processes "$vm")"
check "stop, again" 0 "$(code hack/node stop --name "$vm")"
check "stop has flushed the disk" late "$(hack/node run --disk "$disk" -- cat /persist/late)"

# Ends that nobody wishes for.
check "a panic: no result" 125 "$(code hack/node run -- bash -c 'echo c >/proc/sysrq-trigger; sleep 60')"
check "and it is told" 1 "$(grep -c 'the VM died (log: ' "$tmp/err")"
check "a run that takes too long: no result" 125 "$(code hack/node run --timeout 15 --name "$vm" -- sleep 1000)"
check "no process is left of it" 0 "$(processes "$vm")"
for signal in INT TERM KILL; do
    # env: what a script starts in the background ignores SIGINT
    env --default-signal hack/node run --name "$vm" -- sleep 1000 >/dev/null 2>&1 &
    pid=$!
    for ((i = 0; i < 600; i++)); do
        [[ $(code in_vm -- true) == 0 ]] && break
        sleep 0.1
    done
    kill -"$signal" "$pid"
    wait "$pid" 2>/dev/null || true
    for ((i = 0; i < 100; i++)); do
        [[ $(processes "$vm") == 0 ]] && break
        sleep 0.1
    done
    check "SIG$signal to hack/node ends its VM" 0 "$(processes "$vm")"
done
check "a disk that is no file system: the VM says so" 125 "$(head -c 1M /dev/zero >"$tmp/bad"; code hack/node run --disk "$tmp/bad" -- true)"
check "with the reason" 1 "$(grep -c 'cannot be mounted at /persist' "$tmp/err")"

echo "$passed passed, $failed failed"
((failed == 0))
