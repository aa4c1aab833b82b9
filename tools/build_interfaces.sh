#!/usr/bin/env bash
# Build ROS interface packages against the ROS wheels of a virtual environment, and install them there.
#   build_interfaces.sh VENV PACKAGE_DIR...
set -euo pipefail
venv=$(cd "$1" && pwd)
shift
python=$venv/bin/python
export PATH="$venv/bin:$PATH"

# The wheels' CMake exports name the headers of the machine that built them: name ours.
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
numpy_headers=$("$python" -c 'import numpy; print(numpy.get_include())')
{ grep -rlE '/opt/python/cp[0-9]+' "$venv"/share/*/cmake || true; } | xargs -r sed -Ei \
  -e "s#/opt/python/cp[0-9]+-cp[0-9]+/lib/python3[.][0-9]+/site-packages/numpy/(_core|core)/include#$numpy_headers#g" \
  -e "s#/opt/python/cp[0-9]+-cp[0-9]+/include/python3[.][0-9]+#$headers#g"

for package in "$@"; do
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
  if ! {
    cmake -S "$package" -B "$build" -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
      -DCMAKE_PREFIX_PATH="$venv" -DCMAKE_INSTALL_PREFIX="$venv" -DPython3_EXECUTABLE="$python" &&
      cmake --build "$build" -j "$(nproc)" &&
      cmake --install "$build"
  } > "$build/log" 2>&1; then
    tail -n 30 "$build/log" >&2
    echo "error: $package could not be built; are cmake, g++ and python3-dev installed?" >&2
    exit 1
  fi
  rm -rf "$build"
done
