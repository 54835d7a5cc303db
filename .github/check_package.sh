#!/usr/bin/env bash
# Build wheel and sdist into dist/, check their metadata, and train the toy model with each in a fresh environment.
# With an argument, the tag of a release such as v0.1.0: it must be the version, and the repository have an address.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "$(ls dist 2>/dev/null)" ]; then echo "dist is not empty: move its files away" >&2; exit 2; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/tools"
"$work/tools/bin/pip" install -q build twine
"$work/tools/bin/python" -m build -o dist
"$work/tools/bin/twine" check --strict dist/*
if [ -n "${1:-}" ] && grep -q 'github.com/OWNER/' README.md pyproject.toml; then
    echo "README.md and pyproject.toml name github.com/OWNER: first python -m site_build --address URL" >&2
    exit 1
fi

for file in dist/*.whl dist/*.tar.gz; do
    python3 -m venv --clear "$work/fresh"
    "$work/fresh/bin/pip" install -q "$file"
    version=$("$work/fresh/bin/minilstm" --version)
    if [ -n "${1:-}" ] && [ "minilstm ${1#v}" != "$version" ]; then
        echo "the tag is $1, but $file is $version" >&2
        exit 1
    fi
    (cd "$work" && fresh/bin/minilstm train --max-steps 100 --out "run-$(basename "$file")")
    (cd "$work" && fresh/bin/python -c 'import minilstm_lessons; print(len(minilstm_lessons.EXERCISES), "exercises")')
    echo "$file: installed in a fresh environment, trained"
done
