"""The mesh: sums over TCP between CPU workers, resized within a process.

Every rank has a connection with every other one (`links`), made anew for each generation and proven
by both sides with the generation's key (`joining`). `folding` and `chain` say which frames a call
sends and expects, `pump` moves them; `wire` is what stands on the wire.
"""
