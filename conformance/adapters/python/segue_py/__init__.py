"""Segue in Python, written from the specification alone: one module a chapter, no I/O."""
