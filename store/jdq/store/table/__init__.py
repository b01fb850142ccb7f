"""Reads users' tables: CSV, JSON Lines, Parquet, Excel and more. Every cell is text, exactly as in the file."""

from jdq.store.table.files import table_name
from jdq.store.table.options import TableError, TableOptions
from jdq.store.table.table import SourceFile, Table, open_table

__all__ = ["SourceFile", "Table", "TableError", "TableOptions", "open_table", "table_name"]
