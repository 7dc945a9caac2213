"""Every number of every built-in plugin has bounds: what cannot be is refused by name, whatever way it comes in."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import attrs
import pytest
from attrs import frozen

from hnas import ConfigError, Registry
from hnas.discovery import KINDS
from hnas.discovery.loading import options_of
from hnas.settings import MOST, setting
from hnas_app.config.dump import toml_value
from hnas_app.config.load import load_config
from hnas_app.config.schema import SECTIONS, Config
from hnas_app.config.values import read, read_text, validate
from hnas_app.costs.limits import Constraint

VALUES = (math.inf, -math.inf, math.nan, -1, -1.0, 1e30, 1e308, 10**30, 10**400, True, "²", "٣", "1e30")
MEANINGFUL = {("arm", "cpu", -1): "the last core"}
"""Values of these that a setting takes, and what they mean."""


def options() -> Iterator[tuple[str, str, type]]:
    """Yield section, plugin and class of all settings."""
    yield "", "", Config
    yield from ((section, "", cls) for section, cls in SECTIONS.items())
    yield from ((r.kind, r.plugin.name, options_of(r)) for r in Registry().list())


OPTIONS = list(options())


def numbers() -> Iterator[tuple[str, str, attrs.Attribute[Any], Any]]:
    """Yield section, plugin, field and type of each setting that takes a number."""
    for section, plugin, cls in OPTIONS:
        hints = typing.get_type_hints(cls)
        for f in attrs.fields(cls):
            parts = {hints[f.name], *typing.get_args(hints[f.name])}
            if f.init and parts & {int, float}:
                yield section, plugin, f, hints[f.name]


NUMBERS = list(numbers())


def test_there_are_as_many_as_expected():
    """A change of the types must not empty the tests below."""
    assert len(NUMBERS) > 100


@pytest.mark.parametrize(("section", "plugin", "field", "kind"), NUMBERS, ids=lambda x: getattr(x, "name", x) or "-")
def test_a_number_that_cannot_be_is_refused_by_every_setting(section, plugin, field, kind):
    """`inf` was taken by 15 settings, 10**30 by 55, `rate_factor=1e308` was found after hours of training."""
    many = typing.get_origin(kind) in (tuple, list)
    for value in VALUES:
        if not isinstance(value, str) and (plugin, field.name, value) in MEANINGFUL and not isinstance(value, bool):
            continue
        given = [value] if many and not isinstance(value, str) else value
        with pytest.raises(ValueError, match=r"must|expected|Exceeds"):
            validate(field, (read_text if isinstance(value, str) else read)(given, kind))


@pytest.mark.parametrize(("section", "plugin", "field", "kind"), NUMBERS, ids=lambda x: getattr(x, "name", x) or "-")
def test_options_made_in_python_have_the_bounds_too(section, plugin, field, kind):
    cls = next(c for s, p, c in OPTIONS if (s, p) == (section, plugin))
    for value in (math.nan, math.inf, 1e30):
        with pytest.raises((ValueError, ConfigError)):
            cls(**{field.name: value})


def chosen() -> list[dict[str, str]]:
    """Return choices of plugins that together name each of them."""
    names = [[r.plugin.name for r in Registry().list() if r.kind == kind] for kind in KINDS]
    return [
        {kind: name or own[0] for kind, name, own in zip(KINDS, row, names, strict=True)} for row in zip_longest(*names)
    ]


@pytest.mark.parametrize("plugins", chosen(), ids=lambda c: "-".join(c.values()))
@pytest.mark.parametrize("source", ["file", "set", "environment", "arguments"])
def test_each_source_is_checked_and_every_setting_named(source, plugins, tmp_path):
    given = {
        f"{section}.{f.name}" if section else f.name: 10**30
        for section, plugin, f, _ in NUMBERS
        if plugin in ("", plugins.get(section))
    }
    where: dict[str, Any] = {"flags": plugins, "env": {}}
    if source == "file":
        lines = [f"{key} = {toml_value(value)}" for key, value in sorted(given.items(), key=lambda kv: "." in kv[0])]
        (tmp_path / "hnas.toml").write_text("\n".join(lines))
        where["file"] = tmp_path / "hnas.toml"
    elif source == "set":
        where["sets"] = [(key, str(value)) for key, value in given.items()]
    elif source == "environment":
        where["env"] = {"HNAS_" + key.upper().replace(".", "__"): str(value) for key, value in given.items()}
    else:
        where["arguments"] = given
    with pytest.raises(ConfigError) as caught:
        load_config(Registry(), **where)
    said = str(caught.value).splitlines()[1:]
    assert len(said) == len(given)
    spelt = {key: "HNAS_" + key.upper().replace(".", "__") if source == "environment" else key for key in given}
    assert [key for key in given if not any(spelt[key] in line for line in said)] == []


def test_learning_rates_at_their_bounds_are_still_numbers():
    """Their product, too: an overflow was found in the last phase."""
    most = {(p, f.name): f.metadata["most"] for _, p, f, _ in NUMBERS}
    product = most["", "rate_factor"] * most["maml++", "meta_lr"] * most["maml++", "rates_lr_factor"]
    assert product < 3e38


@frozen(kw_only=True)
class Authors:
    """Options of a third party: with `setting`, and with plain attrs."""

    plain: float = 1.0
    many: tuple[float, ...] = (1.0,)
    large: float = 1e13
    wide: float = setting(1.0, "up to 1e15", most=1e15)
    endless: float = setting(math.inf, "no limit by default", most=math.inf)


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("plain", [1e12, -1e12, 0.0], [1.1e12, math.inf, math.nan]),
        ("many", [(1.0, 1e12)], [(1.0, 2e12), (math.nan,), (-math.inf, 1.0)]),
        ("large", [1e13, 1.0], [2e13]),
        ("wide", [1e15], [2e15, math.inf, math.nan]),
        ("endless", [math.inf, -math.inf, 1e300], [math.nan]),
    ],
)
def test_authors_get_bounds_by_default_and_infinity_by_choice(name, taken, refused):
    field = attrs.fields_dict(Authors)[name]
    for value in taken:
        validate(field, value)
        Authors(**{name: value})
    for value in refused:
        with pytest.raises(ValueError, match="must be a finite number of at most"):
            validate(field, value)
    assert MOST == 1e12
    Authors()


@pytest.mark.parametrize("accelerator", ["cuda:٣", "cuda:²", "cuda:-1", "cuda:99999"])
def test_the_number_of_an_accelerator_is_of_digits(accelerator):
    with pytest.raises(ConfigError, match="expected cpu, cuda or cuda:N"):
        load_config(Registry(), env={}, sets=[("accelerator", accelerator)])


@pytest.mark.parametrize(
    ("limit", "odd"),
    [("latency<=٣ms", "٣"), ("latency<=1٣ms", "٣"), ("params<=²K", "²"), ("params<=5²", "²"), ("macs<=１M", "１")],
)
def test_a_limit_with_other_digits_names_the_character(limit, odd):
    with pytest.raises(ConfigError, match=f"'{odd}' is not one of the digits 0 to 9"):
        Constraint.parse(limit)


@pytest.mark.parametrize("digits", ["9" * 5000, "0x" + "f" * 5000])
def test_a_number_of_too_many_digits_is_a_mistake_and_no_crash(digits, tmp_path):
    (tmp_path / "hnas.toml").write_text(f"seed = {digits}\n")
    with pytest.raises(ConfigError, match=r"hnas\.toml is not TOML: Exceeds the limit"):
        load_config(Registry(), env={}, file=tmp_path / "hnas.toml")
    with pytest.raises(ConfigError, match="expected int"):
        load_config(Registry(), env={}, sets=[("seed", digits)])
