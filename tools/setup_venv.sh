#!/usr/bin/env bash
# Make a virtual environment that holds this package, editable, with ROS 2 from wheels, its tests'
# and its demo's requirements; do nothing if it is up to date.
#   setup_venv.sh VENV
# pip is used as the user configured it: indexes, proxies, constraints and caches are respected.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$1
stamp=$venv/deviloc.stamp
unfinished=$venv/deviloc.unfinished

fail() {
  echo "error: $*" >&2
  exit 1
}

# One set-up at a time: a second caller waits and then finds it done.
exec 9< "$root/setup.py"
if command -v flock > /dev/null; then flock 9; fi

supported='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
python=
for candidate in ${PYTHON:+"$PYTHON"} /usr/bin/python3 python3 python3.12 python3.11 python3.10; do
  if command -v "$candidate" > /dev/null && "$candidate" -c "$supported" 2> /dev/null; then
    python=$(command -v "$candidate")
    break
  fi
  [ "$candidate" != "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is not a Python 3.10-3.13"
done
[ -n "$python" ] || fail "no Python 3.10-3.13 found; install python3 or set PYTHON"

inputs=("$root"/setup.py "$root"/pyproject.toml "$root"/requirements*.txt "$root"/constraints.txt
  "$root"/tools/*.sh "$root"/ros_interfaces/*/package.xml "$root"/ros_interfaces/*/CMakeLists.txt
  "$root"/ros_interfaces/*/msg/*.msg)
wanted=$({
  cat "${inputs[@]}"
  echo "$root"
  "$python" --version
} | sha256sum)
if [ -f "$stamp" ] && [ ! -e "$unfinished" ] && [ "$(< "$stamp")" = "$wanted" ] &&
  [ -x "$venv/bin/python" ] && [ -x "$venv/bin/deviloc" ]; then
  exit 0
fi

for tool in cmake g++; do
  command -v "$tool" > /dev/null || fail "$tool is not installed (Debian: apt install cmake g++ python3-dev python3-venv)"
done
"$python" -c 'import ensurepip, venv' 2> /dev/null ||
  fail "$python cannot make virtual environments (Debian: apt install python3-venv)"
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
[ -f "$headers/Python.h" ] || fail "$headers/Python.h is absent (Debian: apt install python3-dev)"
if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
  fail "$venv is not a virtual environment and not empty; name another one by DEVILOC_VENV"
fi

echo "Setting up $venv with $("$python" --version) ..." >&2
# What an interrupted set-up left may be half a package that pip believes in: start over.
version=$("$python" -c 'import sys; print(sys.version_info[:2])')
if [ -e "$unfinished" ] ||
  [ "$("$venv/bin/python" -c 'import sys, pip; print(sys.version_info[:2])' 2> /dev/null)" != "$version" ]; then
  "$python" -m venv --clear "$venv"
fi
touch "$unfinished"
pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input)
"${pip[@]}" install --quiet --use-pep517 --constraint "$root/constraints.txt" \
  --requirement "$root/requirements-ros.txt" --requirement "$root/requirements-dev.txt" \
  --editable "$root[demo]" 9>&-
"$root/tools/build_interfaces.sh" "$venv" "$root"/ros_interfaces/*/
"$venv/bin/python" -c 'import deviloc_ros, rclpy, bond.msg, tf2_msgs.msg, torch, pycolmap, cv2'
echo "$wanted" > "$stamp"
rm "$unfinished"
echo "Done: $venv" >&2
