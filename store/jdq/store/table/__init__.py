"""Reads users' tables: CSV, TSV, JSON Lines, Parquet. Every cell is text, exactly as in the file."""

from jdq.store.table.options import TableError, TableOptions
from jdq.store.table.table import Table, open_table

__all__ = ["Table", "TableError", "TableOptions", "open_table"]
