"""Damage to a file of a store."""

from pathlib import Path


def flip(path: Path, position: int) -> None:
    """Turn one bit of this byte of the file, in place."""
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)
