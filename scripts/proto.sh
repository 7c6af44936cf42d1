#!/bin/sh
# Make the generated files of each .proto anew. They are kept in git: a user needs no protoc.
set -eu
cd "$(dirname "$0")/.."
for proto in tally/gang/coordinator/coordinator.proto; do
	folder=$(dirname "$proto")
	.venv/bin/python -m grpc_tools.protoc -I "$folder" --python_out="$folder" --pyi_out="$folder" "$proto"
	for made in "${proto%.proto}_pb2.py" "${proto%.proto}_pb2.pyi"; do
		printf '# mypy: ignore-errors\n# ruff: noqa\n# fmt: off\n' | cat - "$made" >"$made.new"
		mv "$made.new" "$made"
	done
done
