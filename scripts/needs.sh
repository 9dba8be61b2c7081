# What the tasks of `../x` need on this machine. `prepare` checks all of it before anything is compiled, and
# installs what is missing, or names all of it at once. Sourced by `../x`, which defines `log` and `die`.
# shellcheck shell=bash

# Needs of each task. Firmware targets depend on its arguments, so `prepare` gets them separately.
declare -rA NEEDS=(
    [build]='rust cc alsa'
    [firmware]='rust cc'
    [boards]='rust cc'
    [sizes]='rust cc'
    [table]='rust cc'
    [release]='rust cc alsa'
    [test]='rust cc c++ alsa qemu-arm qemu-riscv arm-gcc riscv-gcc cmake'
    [bench]='rust cc alsa qemu-arm qemu-riscv'
    [fuzz]='rust cc c++ alsa'
    [lint]='rust cc alsa rustfmt clippy'
    [images]='rust cc alsa tmux pulseaudio chromium inter'
    [package]='rust cc'
    [demo]='rust cc alsa qemu-arm'
)

# Name of each need in messages.
declare -rA TITLES=(
    [cc]='a C compiler'
    [c++]='a C++ compiler'
    [alsa]="pkg-config and ALSA's headers"
    [qemu-arm]='QEMU for Arm'
    [qemu-riscv]='QEMU for RISC-V'
    [arm-gcc]='a C compiler for Arm, with newlib'
    [riscv-gcc]='a C compiler for RISC-V, with picolibc'
    [chromium]=Chromium
    [cmake]=CMake
    [inter]='the font Inter'
    [rustfmt]=rustfmt
    [clippy]=clippy
    [npm]=npm
    [pulseaudio]='a virtual sound card (PulseAudio)'
    [python]='Python with venv'
    [tmux]=tmux
)

# Debian's packages of each need; those of `qemu-riscv` differ between releases (`packages_of`).
declare -rA PACKAGES=(
    [cc]=build-essential
    [c++]=build-essential
    [alsa]='pkg-config libasound2-dev'
    [qemu-arm]=qemu-system-arm
    [arm-gcc]='gcc-arm-none-eabi libnewlib-arm-none-eabi'
    [riscv-gcc]='gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf'
    [chromium]=chromium
    [cmake]=cmake
    [inter]='fontconfig fonts-inter'
    [npm]=npm
    [pulseaudio]='pulseaudio pulseaudio-utils libasound2-plugins'
    [python]=python3-venv
    [tmux]=tmux
)
# Targets of the C library's archives (xtask/src/archives.rs).
readonly C_TARGETS=(
    aarch64-unknown-linux-gnu riscv32imac-unknown-none-elf riscv32imc-unknown-none-elf thumbv6m-none-eabi
    thumbv7em-none-eabi thumbv7em-none-eabihf thumbv7m-none-eabi thumbv8m.main-none-eabi
    thumbv8m.main-none-eabihf x86_64-unknown-linux-gnu
)
# Target of the module for browsers.
readonly WEB=wasm32-unknown-unknown
readonly DEBIAN_RUST=(rustc-web cargo-web rust-web-src)

# --- firmware targets of a task ---------------------------------------------------------------

# entries KIND: a line `NAME TARGET` for each entry of boards.toml, `board` or `machine`, that has a target.
entries() {
    local line name="" is_wanted=""
    while IFS= read -r line; do
        case $line in
            "[[$1]]") is_wanted=1 ;;
            "[["*) is_wanted="" ;;
            'name = "'*) name=${line#*\"} && name=${name%\"} ;;
            'target = "'*)
                line=${line#*\"}
                [[ -z $is_wanted ]] || printf '%s %s\n' "$name" "${line%\"}"
                ;;
        esac
    done <boards.toml
}

# targets_of TASK ARGUMENT…: needs that depend on the arguments, which are mostly targets of firmware. Debian's compiler can take
# the place of a target for the emulated machines, not for boards. Ends if an argument is wrong, so that
# nothing is installed for it.
targets_of() {
    local task=$1 kind=machine need=debian-target known name target
    shift
    case $task in
        firmware) [[ $# != 0 ]] || set -- cortex-m4 ;;
        demo) set -- cortex-m4 ;;
        # The firmware of boards and the package for browsers, which ship with the program.
        build) kind=board need=wanted-target && echo "$need:$WEB" && set -- all ;;
        test) echo "$need:$WEB" && set -- all ;;
        bench | boards)
            [[ "$task ${1:-}" != "bench accept" || $# == 1 ]] || die "a page has all processors: ./x bench accept"
            [[ ${1:-} != accept ]] || shift
            [[ $# != 0 ]] || set -- all
            [[ $task == bench ]] || { kind=board && need=target; }
            ;;
        release)
            sed -n 's/.*--target  *\([^ ]*\).*/target:\1/p' <<<"$*"
            # Each part has its own needs; no part stands for all.
            [[ " $* " =~ " "(program|firmware|c|npm|wheel)" " ]] || set -- firmware c npm wheel
            [[ " $* " != *" c "* ]] || printf 'target:%s\n' "${C_TARGETS[@]}"
            [[ " $* " != *" npm "* ]] || printf '%s\n' npm "target:$WEB"
            [[ " $* " != *" wheel "* ]] || echo python
            [[ " $* " != *" program "* ]] || echo "target:$WEB"
            [[ " $* " =~ " "(program|firmware)" " ]] || return 0
            kind=board need=target
            set -- all
            ;;
        fuzz)
            # libFuzzer takes 0 for no end.
            [[ ${1:-60} =~ ^[1-9][0-9]*$ ]] || die "seconds expected, not $1; see ./x help"
            return 0
            ;;
        *) return 0 ;;
    esac
    known=$(entries "$kind")
    [[ $* != all ]] || {
        sed "s/.* /$need:/" <<<"$known" | sort -u
        return 0
    }
    for name in "$@"; do
        target=$(sed -n "s/^$name //p" <<<"$known")
        [[ -n $target ]] || unknown "$kind" "$name" "$known"
        echo "$need:$target"
    done | sort -u
}

# unknown KIND NAME ENTRIES: ends with the names that there are.
unknown() {
    [[ $1 != machine ]] || die "unknown processor: $2; see ./x help"
    die "unknown board: $2; there are: $(sed 's/ .*//' <<<"$3" | tr '\n' ' ')"
}

# --- is it there? -----------------------------------------------------------------------------

# has NEED
has() {
    case $1 in
        rust) is_recent rustc && cargo --version >/dev/null 2>&1 ;;
        cc) compiles cc c '#include <stdlib.h>' ;;
        c++) compiles c++ c++ '#include <cstdlib>' ;;
        # Only Linux reaches the microphone by ALSA.
        alsa) [[ $(uname) != Linux ]] || { pkg-config --exists alsa; } >/dev/null 2>&1 ;;
        qemu-arm) command -v qemu-system-arm >/dev/null ;;
        qemu-riscv) command -v qemu-system-riscv32 >/dev/null ;;
        arm-gcc) compiles_for arm-none-eabi-gcc --specs=rdimon.specs ;;
        riscv-gcc) compiles_for riscv64-unknown-elf-gcc --specs=picolibc.specs ;;
        rustfmt) cargo fmt --version >/dev/null 2>&1 ;;
        clippy) cargo clippy --version >/dev/null 2>&1 ;;
        # The font of the accepted screens.
        inter) fc-list : family 2>/dev/null | grep -q '^Inter' ;;
        python) python3 -c 'import ensurepip, venv' >/dev/null 2>&1 ;;
        target:*) has_target "${1#target:}" ;;
        debian-target:*) has_target "${1#debian-target:}" || has_debian_rust ;;
        # Where only the distribution's compiler is, the program is built without firmware of boards.
        wanted-target:*) has_target "${1#wanted-target:}" || ! command -v rustup >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# compiles COMPILER LANGUAGE SOURCE: a compiler without a library's headers is none.
compiles() {
    local folder status=0
    command -v "$1" >/dev/null || return 1
    folder=$(mktemp -d)
    "$1" -x "$2" -o "$folder/program" - <<<"$3"$'\nint main() { return EXIT_SUCCESS; }' >/dev/null 2>&1 ||
        status=1
    rm -rf "$folder"
    return "$status"
}

# compiles_for COMPILER OPTION: a cross compiler with the headers of its C library.
compiles_for() {
    command -v "$1" >/dev/null &&
        "$1" "$2" -x c -fsyntax-only - <<<'#include <stdlib.h>' >/dev/null 2>&1
}

# The oldest compiler that will do.
oldest_rust() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

# is_recent RUSTC: does it run, and is it recent enough?
is_recent() {
    local version major minor oldest_major oldest_minor
    version=$("$1" --version 2>/dev/null) || return 1
    IFS=. read -r major minor _ <<<"${version#rustc }"
    IFS=. read -r oldest_major oldest_minor _ <<<"$(oldest_rust)"
    ((major > oldest_major || (major == oldest_major && minor >= oldest_minor)))
}

# has_target TARGET: the sysroot has it, and cargo needs nothing else.
has_target() { [[ -d $(rustc --print sysroot 2>/dev/null)/lib/rustlib/$1/lib ]]; }

# Debian's compiler, which builds `core` from its source package.
has_debian_rust() {
    [[ -x /usr/bin/cargo && -d /usr/lib/rustlib/src/rust/library ]] && is_recent /usr/bin/rustc &&
        linker >/dev/null
}

# linker: a linker for firmware, where the compiler is Debian's.
linker() {
    local found
    for found in "$(rustc --print sysroot 2>/dev/null)"/lib/rustlib/*/bin/rust-lld; do
        [[ -x $found ]] && { echo "$found"; return; }
    done
    command -v rust-lld || command -v ld.lld
}

# lacking NEED…: those of them that are not there, a line each.
lacking() {
    local need
    for need in "$@"; do
        has "$need" || echo "$need"
    done
}

# --- install it, or print what to type ----------------------------------------------------------

# may_install: is apt-get here, and may we use it?
may_install() {
    command -v apt-get >/dev/null || return 1
    [[ $(id -u) == 0 ]] && return 0
    command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }
}

# as_root COMMAND…
as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi
}

# packages_of NEED…: Debian's packages, each once.
packages_of() {
    local need
    for need in "$@"; do
        case $need in
            # A package of its own since Debian 13 and Ubuntu 25.04.
            qemu-riscv)
                if apt-cache show qemu-system-riscv >/dev/null 2>&1; then
                    echo qemu-system-riscv
                else
                    echo qemu-system-misc
                fi
                ;;
            debian-target:*)
                if apt-cache show "${DEBIAN_RUST[@]}" >/dev/null 2>&1; then
                    printf '%s\n' "${DEBIAN_RUST[@]}"
                    linker >/dev/null || echo lld
                fi
                ;;
            *) [[ -z ${PACKAGES[$need]:-} ]] || tr ' ' '\n' <<<"${PACKAGES[$need]}" ;;
        esac
    done | sort -u
}

# with_rustup NEED…: adds targets and components, which takes no rights. Failure is seen afterwards.
with_rustup() {
    local need targets=() components=()
    command -v rustup >/dev/null || return 0
    for need in "$@"; do
        case $need in
            *target:*) targets+=("${need#*target:}") ;;
            rustfmt | clippy) components+=("$need") ;;
        esac
    done
    if [[ ${#targets[@]} != 0 ]]; then
        log "adding with rustup: ${targets[*]}"
        timeout 300 rustup target add "${targets[@]}" >&2 || true
    fi
    if [[ ${#components[@]} != 0 ]]; then
        log "adding with rustup: ${components[*]}"
        timeout 300 rustup component add "${components[@]}" >&2 || true
    fi
}

# with_apt NEED…: installs the packages. Failure is seen afterwards.
with_apt() {
    local packages
    [[ -n $(packages_of "$@") ]] && may_install || return 0
    # Before the list is made: names of packages depend on the release.
    as_root apt-get update -q >&2 || true
    mapfile -t packages < <(packages_of "$@")
    log "installing with apt-get: ${packages[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${packages[@]}" >&2 || true
}

# name_missing TASK NEED…: ends with all that is missing, and one command for it.
name_missing() {
    local task=$1 need packages title titles=() targets=() components=() commands=() hint=""
    shift
    mapfile -t packages < <(packages_of "${@/#debian-target:/target:}")
    [[ ${#packages[@]} == 0 ]] || commands+=("sudo apt-get install ${packages[*]}")
    for need in "$@"; do
        title=${TITLES[$need]:-}
        case $need in
            rust)
                title="Rust $(oldest_rust) or newer"
                if command -v rustup >/dev/null; then
                    commands=("rustup update stable" "rustup default stable" "${commands[@]}")
                else
                    hint+=$'\n  Rust: install it with rustup (https://rustup.rs), then call this again'
                fi
                ;;
            *target:*) title="the target ${need#*target:}" && targets+=("${need#*target:}") ;;
            rustfmt | clippy) components+=("$need") ;;
            alsa) [[ $task != build ]] ||
                hint+=$'\n  without a microphone: cargo build --release -p wakeling --no-default-features' ;;
        esac
        titles+=("$title")
    done
    [[ ${#targets[@]} == 0 ]] || commands+=("rustup target add ${targets[*]}")
    [[ ${#components[@]} == 0 ]] || commands+=("rustup component add ${components[*]}")
    title=$(printf '; %s' "${titles[@]}")
    hint="${commands[*]:+$'\n  type: '$(joined ' && ' "${commands[@]}")}$hint"
    [[ ${#packages[@]} == 0 ]] || command -v apt-get >/dev/null ||
        hint+=$'\n  these are the names on Debian and Ubuntu; elsewhere they are similar'
    die "./x $task needs what is missing here: ${title#; }$hint"
}

# joined SEPARATOR WORD…
joined() {
    local separator=$1 all
    shift
    all=$(printf "%s$separator" "$@")
    printf '%s' "${all%"$separator"}"
}

# prepare TASK [TARGET…]: installs what the task needs and this machine lacks, or ends with all of it named.
# Debian's compiler can take the place of a target for the emulated boards: their targets are given as
# `debian-target:TARGET`, those of boards on hardware as `target:TARGET`.
prepare() {
    local task=$1 missing
    shift
    # A shell that was open while rustup was installed does not have cargo in its PATH.
    command -v cargo >/dev/null || [[ ! -f ${CARGO_HOME:-$HOME/.cargo}/env ]] ||
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    # shellcheck disable=SC2086
    mapfile -t missing < <(lacking ${NEEDS[$task]} "$@")
    [[ ${#missing[@]} != 0 ]] || return 0
    # Without a compiler nothing is installed: targets belong to it, and without rustup are left to the next call.
    if [[ ${missing[0]} == rust ]]; then
        command -v rustup >/dev/null ||
            mapfile -t missing < <(printf '%s\n' "${missing[@]}" | grep -vE 'target:|^rustfmt$|^clippy$')
        name_missing "$task" "${missing[@]}"
    fi
    with_rustup "${missing[@]}"
    mapfile -t missing < <(lacking "${missing[@]}")
    with_apt "${missing[@]}"
    mapfile -t missing < <(lacking "${missing[@]}")
    [[ ${#missing[@]} == 0 ]] || name_missing "$task" "${missing[@]}"
}
