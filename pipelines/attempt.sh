#!/usr/bin/env bash
# One step of a workflow that may fail for one crystal:  attempt.sh FOLDER COMMAND...
# What the command says on standard error is kept in FOLDER/log; a failure leaves its last line in FOLDER/failed, and the exit status is 1.
mkdir -p "$1" && rm -f "$1/failed"
status=0
"${@:2}" 2> "$1/log" || status=$?
[ $status -ne 0 ] || exit 0
[ -s "$1/log" ] || echo "$2: exit status $status" > "$1/log"
tail -1 "$1/log" > "$1/failed"
exit 1
