"""What the library costs, beside its peers: each module is a command that prints a table.

``python -m benchmarks`` runs all of them and writes ``docs/performance.md``; ``python -m benchmarks.throughput`` runs
one.  Every figure is a ratio to a peer that was measured in the same run on the same machine, every measurement a fresh
process, and the peers take turns, so that what else the machine does meets all of them.  Nothing is asserted here.

Needs the extra ``bench`` for the peers, and Postfix for ``smtp-source`` and ``smtp-sink``; what is absent is left out,
with a note.
"""
