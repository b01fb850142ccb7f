"""Datasets: imported tables. Each version is a folder that never changes."""

from jdq.store.datasets.catalogue import Datasets
from jdq.store.datasets.names import InvalidName, NameTaken, UnknownDataset, check_name, name_from
from jdq.store.datasets.records import DamagedDataset, ImportRecord, RemovedDataset, SpaceRecord
from jdq.store.datasets.version import DatasetVersion, NoLabels, UnknownColumn

__all__ = [
    "DamagedDataset",
    "DatasetVersion",
    "Datasets",
    "ImportRecord",
    "InvalidName",
    "NameTaken",
    "NoLabels",
    "RemovedDataset",
    "SpaceRecord",
    "UnknownColumn",
    "UnknownDataset",
    "check_name",
    "name_from",
]
