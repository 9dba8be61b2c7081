#!/usr/bin/env bash
# Puts the add-on together: its files, and the program for one processor.
#   integrations/home-assistant/assemble.sh amd64 target/home-assistant target/release/wakeling
# The folder that it makes, OUT/wakeling, goes into /addons of a machine with Home Assistant OS. A second call
# for another processor adds its program.
set -euo pipefail

[[ $# == 3 && ($1 == amd64 || $1 == aarch64) && -f $3 ]] || {
    echo "usage: assemble.sh amd64|aarch64 OUT PROGRAM" >&2
    exit 2
}
addon=$(dirname "${BASH_SOURCE[0]}")/wakeling
out=$2/wakeling
mkdir -p "$out/bin"
cp -R "$addon/." "$out/"
cp "$3" "$out/bin/wakeling-$1"
chmod 755 "$out/bin/wakeling-$1" "$out/run.sh"
echo "$out"
