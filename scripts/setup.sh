#!/bin/sh
# Make .venv from requirements.lock: exact versions, checked hashes, byte-compiled. Called by `make .venv`.
set -eu
python=$1
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
install() { .venv/bin/uv pip install --python .venv/bin/python --no-deps --compile-bytecode "$@"; }
torch_pin=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.lock)
if .venv/bin/uv pip install --python .venv/bin/python --no-deps --dry-run --quiet "$torch_pin+cpu" 2>/dev/null; then
  sed "s/^$torch_pin /$torch_pin+cpu /" requirements.lock >.venv/requirements.lock
  install --require-hashes -r .venv/requirements.lock
else
  install --require-hashes -r requirements.lock -r requirements-cuda.lock
fi
install --no-build-isolation --editable .
.venv/bin/python scripts/torchvision_hook.py
touch .venv/ready
