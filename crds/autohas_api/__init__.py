"""The contract between user, operator and trainer: types, names and codecs.

Imported by both sides; imports neither. Everything that crosses a process has its one type here.
"""
