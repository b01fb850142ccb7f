"""What a classifier was measured on."""

from dataclasses import dataclass
from typing import Any

import msgspec

from jdq.worker.heads.split_options import SplitOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSetting:
    """What a classifier was measured on: only rows of one test setting are comparable."""

    dataset_version: str
    label_column: str
    split: str
    multi_label: bool = False
    rule: str = ""  # what decided the split, in words; empty for the default


def difference(setting: TestSetting, reference: TestSetting) -> str:
    """How the two differ, in words; empty if they are equal."""
    if setting.dataset_version != reference.dataset_version:
        return f"dataset version {setting.dataset_version}"
    if setting.label_column != reference.label_column:
        return f"label column {setting.label_column!r}"
    if setting.rule != reference.rule:
        return setting.rule or "the default split"
    if setting.split != reference.split:
        return f"split {setting.split[:8]}"
    if setting.multi_label != reference.multi_label:
        return "label sets" if setting.multi_label else "single labels"
    return ""


def test_setting_of(record: dict[str, Any]) -> TestSetting:
    """What a head or a model, by its record, was measured on."""
    origin = record["origin"]
    return TestSetting(
        dataset_version=origin["dataset_version"],
        label_column=origin["label_column"],
        split=record["split_digest"],
        multi_label=bool(record.get("multi_label")),
        rule=rule_of(origin.get("split", {})),
    )


def rule_of(split: dict[str, Any]) -> str:
    """What decided the split of a record, in words."""
    return msgspec.convert(split, SplitOptions).name
