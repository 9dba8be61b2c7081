#!/usr/bin/env bash
# Bootstrap of every task: checks and installs what the task needs, then runs `cargo xtask TASK …`.
# `./x help` lists the tasks.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")"

log() { printf '\033[1m» %s\033[0m\n' "$*" >&2; }

die() {
    printf 'x: %s\n' "$*" >&2
    exit 1
}

. scripts/needs.sh

task=${1:-help}
case $task in
    help | -h | --help) exec cat scripts/help.txt ;;
esac
[[ -n ${NEEDS[$task]:-} ]] || { cat scripts/help.txt >&2 && die "unknown task: $task"; }
targets=$(targets_of "$@" | sort -u)
# shellcheck disable=SC2086
prepare "$task" $targets
[[ -e ${CARGO_TARGET_DIR:-target}/debug/xtask ]] || log "building the tasks (xtask)"
exec cargo xtask "$@"
