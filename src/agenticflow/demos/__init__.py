"""What ``agenticflow demo`` runs: real work, done by guests of the engine.

A demo is a set of plain functions (JSON in, JSON out) that agents call as their handlers. Nothing in here may
be imported by the floors below; a demo that needs a back door into the engine shows that the engine lacks one
at the front.
"""
