#!/bin/sh
# What `make bench` does: add the peers to .venv, then measure each part beside its peers and limits.
set -eu
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes -r benchmarks/requirements.lock
for name in decode measure synthetic step; do
  echo "== $name"
  .venv/bin/python "benchmarks/$name.py"
done
echo "== accuracy: floors beside ours need photos of your own; see benchmarks/accuracy.py"
