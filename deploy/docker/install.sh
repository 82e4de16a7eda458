#!/usr/bin/env bash
# What the container lacks. TensorRT's Python half in the version of the library that is there, and nothing of CUDA.
set -euo pipefail

library=$(find / -xdev -name 'libnvinfer.so.*.*.*' -print -quit)
[[ -n $library ]] || { echo "there is no libnvinfer in this image: use nvcr.io/nvidia/tritonserver:<yy.mm>-py3" >&2; exit 1; }
have=$(basename "$(readlink -f "$library")")
have=${have#libnvinfer.so.}
echo "this container has TensorRT $have"
cuda=${CUDA_VERSION%%.*}
# `have` lacks the build number that the wheel has: the newest wheel of that release.
python3 -m pip install --no-cache-dir --break-system-packages --no-deps "tensorrt-cu${cuda:-13}-bindings==$have.*"
# Its module is tensorrt_bindings: `tensorrt` is another wheel's, which would bring the library once more.
modules=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo 'import sys, tensorrt_bindings; sys.modules[__name__] = tensorrt_bindings' >"$modules/tensorrt.py"
python3 -m pip install --no-cache-dir --break-system-packages -c constraints.txt ./client '.[engines]'
rm -rf client build ./*.egg-info
