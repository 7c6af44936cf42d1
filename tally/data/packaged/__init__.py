"""Packaged datasets, one a file; the file's name is the dataset's.

Each has `VERSION` (raise it when the examples change), `OPTIONS` (the parameters that shape the
examples), `FILE` (package and path of the installed file that it reads) and
`load(spec) -> Content`.
"""
