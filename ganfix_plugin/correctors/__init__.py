"""Correctors: from what was measured about a generator to edits of its feature maps.

One file per method. A third party's corrector is a `corrector.Corrector` under an entry point of
the group ``ganfix.correctors``; ``examples/corrector_package`` is a complete one.
"""
