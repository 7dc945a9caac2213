"""A resolved configuration is written as TOML and read back as the same one."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnas.discovery import KINDS, Registry
from hnas.errors import ConfigError
from hnas_app.config.dump import dump_toml, flatten, help_texts, toml_value
from hnas_app.config.load import load_config
from hnas_app.config.presets import PRESETS
from hnas_app.config.schema import Config


@pytest.mark.parametrize("preset", PRESETS)
def test_round_trip_of_every_preset_with_the_built_ins(preset, tmp_path):
    registry = Registry(third_party=False)
    config = load_config(registry, preset=preset, env={}, flags={"constraints": ["params<=70K"]}).config
    path = tmp_path / "config.toml"
    path.write_text(dump_toml(config))
    assert load_config(registry, file=path, env={}).config == config


def test_round_trip_keeps_odd_values(toy_registry, tmp_path):
    sets = [("tasks.root", 'a "b"\\c\n\té\x7f#='), ("meta_train.shrink_decay", "1e-7"), ("tasks.scales", "[1e-22, 3]")]
    config = load_config(toy_registry, env={}, sets=sets).config
    path = tmp_path / "config.toml"
    path.write_text(dump_toml(config, comments=dict.fromkeys(flatten(config), "why")))
    assert load_config(toy_registry, file=path, env={}).config == config


_texts = st.text(st.characters(exclude_categories=["Cs"]))
_values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
)


@given(_values)
def test_any_value_is_written_as_toml_reads_it(value):
    assert tomllib.loads(f"value = {toml_value(value)}")["value"] == value


def test_nan_is_written():
    assert math.isnan(tomllib.loads(f"value = {toml_value(math.nan)}")["value"])


def test_what_toml_cannot_hold_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"space\.shape: a object cannot be written"):
        toml_value(object(), "space.shape")


def test_every_key_of_the_schema_has_a_help_text():
    """`hnas config init` writes them beside the values."""
    plugin_tables = set(KINDS)
    assert [k for k, text in help_texts(Config()).items() if not text and k not in plugin_tables] == []


def test_a_path_is_written_as_text():
    assert toml_value(Path("/data/x")) == '"/data/x"'
