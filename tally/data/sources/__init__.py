"""Source formats, one a file.

Each has `VERSION` (raise it when the same source gives other examples), `OPTIONS` (the parameters
that shape the examples), `LAYOUT` (what it reads, in words), `recognises(path) -> bool` (looks at
names only) and `load(path, spec) -> Content`.
"""
