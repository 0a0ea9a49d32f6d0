"""The contract between user, operator and trainer: types, names and codecs.

Operator and trainer import it; it imports neither. Every value that crosses a process has its type here.
"""
