"""Datasets: imported tables. Each version is a folder that never changes."""

from jdq.store.datasets.catalogue import Datasets as Datasets
from jdq.store.datasets.names import InvalidName as InvalidName
from jdq.store.datasets.names import NameTaken as NameTaken
from jdq.store.datasets.names import UnknownDataset as UnknownDataset
from jdq.store.datasets.names import check_name as check_name
from jdq.store.datasets.names import name_from as name_from
from jdq.store.datasets.records import DamagedDataset as DamagedDataset
from jdq.store.datasets.records import RemovedDataset as RemovedDataset
from jdq.store.datasets.records import SpaceRecord as SpaceRecord
from jdq.store.datasets.version import DatasetVersion as DatasetVersion
from jdq.store.datasets.version import NoLabels as NoLabels
from jdq.store.datasets.version import UnknownColumn as UnknownColumn
