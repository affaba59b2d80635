#!/bin/sh
# Make .venv from requirements.lock: exact versions, checked hashes, byte-compiled. Called by `make .venv`, and with
# `train`, which leaves out the developers' tools and the rarer extras, by `make demo`.
set -eu
python=$1 part=${2:-ready}
if [ -z "$python" ]; then
  echo "no Python >= 3.11 found: install one, or name it with  make PYTHON=/path/to/python3.12 ..." >&2
  exit 2
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
uv_pin=$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)
.venv/bin/uv --version 2>/dev/null | grep -q "uv ${uv_pin#uv==}\b" || .venv/bin/python -m pip install --quiet "$uv_pin"

# uv does not read pip's find-links; hand them over, so that a CPU build of torch kept at hand is used.
UV_FIND_LINKS=${UV_FIND_LINKS:-$(.venv/bin/python -m pip config get global.find-links 2>/dev/null || echo "${PIP_FIND_LINKS:-}")}
export UV_FIND_LINKS
install() { .venv/bin/uv pip install --python .venv/bin/python --no-deps "$@"; }
chosen() { # of a lock, the packages to install
  [ "$part" = ready ] && { cat "$1"; return; }
  awk 'NR == FNR { wanted[$1]; next } /^[^ ]/ { split($0, words, "="); keep = words[1] in wanted } keep' \
    requirements-train.txt "$1"
}
torch_pin=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.lock)
chosen requirements.lock >.venv/requirements.lock
chosen requirements-cuda.lock >.venv/requirements-cuda.lock
if .venv/bin/uv pip install --python .venv/bin/python --no-deps --dry-run --quiet "$torch_pin+cpu" 2>/dev/null; then
  sed "s/^$torch_pin /$torch_pin+cpu /" .venv/requirements.lock >.venv/cpu.lock
  install --require-hashes -r .venv/cpu.lock
else
  install --require-hashes -r .venv/requirements.lock -r .venv/requirements-cuda.lock
fi
install --no-build-isolation --editable .
.venv/bin/python scripts/torchvision_hook.py
echo "compiling the packages, so that every first start is quick ..."
.venv/bin/python -m compileall -q -j 0 .venv/lib >.venv/compiled.log 2>&1 || true  # some hold files for other Pythons
touch ".venv/$part"
