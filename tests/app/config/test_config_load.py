"""From files, environment and flags to one configuration: order, strictness, and every mistake at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from hnas.discovery import KINDS, Kind, Registry
from hnas.errors import ConfigError, PluginError
from hnas_app.config.dump import dump_toml
from hnas_app.config.load import load_config
from hnas_app.config.plugin_presets import presets_of
from hnas_app.config.presets import PRESETS
from hnas_app.config.schema import Config, PluginChoice
from hnas_app.config.values import read, read_text
from hnas_app.usecases.arguments import Given

WIDTH = PRESETS["quick"]["space"]["base_width"]


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "hnas.toml"
        path.write_text(text)
        return path

    return write


def load(registry: Registry, **given):
    return load_config(registry, **{"env": {}, **given})


def mistakes(registry: Registry, **given) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(registry, **given)
    assert error.value.exit_code == 3
    return str(error.value).splitlines()[1:]


# ---------------------------------------------------------------- order and origin


def test_each_source_wins_over_the_one_before(toy_registry, toml):
    """Flags over environment over file over preset over defaults, and each value's origin is told."""
    path = toml("seed = 2\nworkers = 2\n[task]\nn_way = 2\nk_shot = 2\n")
    loaded = load(
        toy_registry,
        preset="quick",
        file=path,
        env={"HNAS_SEED": "3", "HNAS_TASK__N_WAY": "3"},
        sets=[("task.n_way", "5")],
        flags={"seed": 4},
    )
    config = loaded.config
    assert (config.seed, config.workers, config.task.n_way, config.task.k_shot) == (4, 2, 5, 2)
    assert config.meta_train.epochs == PRESETS["quick"]["meta_train"]["epochs"]
    assert loaded.origins["seed"] == "--seed"
    assert loaded.origins["task.n_way"] == "--set task.n_way=5"
    assert loaded.origins["task.k_shot"] == f"{path} line 5"
    assert loaded.origins["meta_train.epochs"] == "preset quick"
    assert loaded.origins["meta_train.shrink_decay"] == "default"
    assert loaded.origins["space.downsample"] == "plugin default"


def test_the_environment_alone(toy_registry):
    env = {
        "HNAS_SPACE": "deep",
        "HNAS_SPACE__DEPTH": "7",
        "HNAS_META_TRAIN__EPOCHS": "9",
        "HNAS_CONSTRAINTS": "params<=1K,macs<=1M",
    }
    config = load(toy_registry, env=env).config
    assert (config.space.name, config.space.options.depth, config.meta_train.epochs) == ("deep", 7, 9)
    assert config.constraints == ("params<=1K", "macs<=1M")


def test_variables_that_are_no_keys_are_passed_over(toy_registry):
    env = dict.fromkeys(("HNAS_HOME", "HNAS_DATA", "HNAS_STRICT_PLUGINS", "HNAS_REQUIRE_DATA", "HNAS_DEBUG"), "1")
    assert load(toy_registry, env={**env, "HNAS_MYBOARD_PORT": "7", "HNAS_SEED": ""}).config.seed == 0


def test_a_preset_may_be_chosen_by_any_source(toy_registry, toml):
    epochs = PRESETS["small"]["meta_train"]["epochs"]
    path = toml('preset = "small"\n')
    assert load(toy_registry, file=path).config.meta_train.epochs == epochs
    assert load(toy_registry, env={"HNAS_PRESET": "small"}).config.meta_train.epochs == epochs
    assert load(toy_registry, file=path, preset="none").config.meta_train == Config().meta_train


def test_text_from_a_shell_is_read_by_the_type_that_is_wanted(toy_registry):
    """A folder called 2024 is a text, though it looks like a number."""
    options = load(toy_registry, sets=[("tasks.root", "2024"), ("tasks.scales", "[1, 2.5]")]).config.tasks.options
    assert (options.root, options.scales) == ("2024", (1.0, 2.5))


# ---------------------------------------------------------------- plugins


def test_a_plugin_is_named_by_its_table_or_by_a_text_alone(toy_registry, toml):
    assert load(toy_registry, file=toml('space = "deep"\n')).config.space.name == "deep"
    assert load(toy_registry, file=toml('[space]\nname = "deep"\ndepth = 2\n')).config.space.options.depth == 2


def test_a_preset_applies_where_the_plugin_has_the_option(toy_registry):
    """A third-party space without `base_width` must work with every preset."""
    assert load(toy_registry, preset="quick").config.space.options.base_width == WIDTH
    loaded = load(toy_registry, preset="quick", flags={"space": "deep"})
    assert loaded.config.space.options.depth == 3


def with_presets(registry: Registry, kind: Kind, name: str, presets: Any) -> None:
    """Give a registered plugin a table of presets."""
    registry.list()
    for i, found in enumerate(registry._registered):
        if (found.kind, found.plugin.name) == (kind, name):
            registry._registered[i] = attrs.evolve(found, plugin=attrs.evolve(found.plugin, presets=presets))


def test_a_plugins_own_table_applies_when_it_is_chosen(toy_registry, monkeypatch):
    """Budgets of any phase may depend on any plugin; the user's own settings still win, and the origin is told."""
    monkeypatch.setitem(PRESETS, "quick", {"space": {"base_width": 7}, "meta_train": {"epochs": 3}})
    with_presets(toy_registry, "space", "vgg9", {"quick": {"space": {"base_width": 9}}})
    with_presets(toy_registry, "space", "deep", {"quick": {"meta_train": {"epochs": 4}, "tasks": {"none_has_it": 1}}})
    plain = load(toy_registry, preset="quick")
    assert (plain.config.space.options.base_width, plain.config.meta_train.epochs) == (9, 3)
    assert plain.origins["space.base_width"] == "preset quick for vgg9"
    assert not plain.is_set_by_user("space.base_width")
    assert load(toy_registry, preset="quick", flags={"space": "deep"}).config.meta_train.epochs == 4
    assert load(toy_registry, preset="quick", sets=[("space.base_width", "5")]).config.space.options.base_width == 5
    assert load(toy_registry, preset="none").config.meta_train == Config().meta_train


@pytest.mark.parametrize(
    ("presets", "told"),
    [
        ({"quik": {}}, r"presets: unknown preset 'quik'\. Did you mean 'quick'\?"),
        ({"quick": {"retrian": {}}}, r"\['quick'\]: unknown section 'retrian'\. Did you mean 'retrain'\?"),
        ({"quick": {"retrain": {"epoch": 1}}}, r"\['retrain'\]: unknown key 'epoch'\. Did you mean 'epochs'\?"),
        ({"quick": {"retrain": {"epochs": "1"}}}, r"\['epochs'\]: expected int, got str '1'"),
        ({"quick": {"retrain": {"epochs": 0}}}, r"\['epochs'\]: must be > 0, got 0"),
        ({"quick": {"space": {"width": 3}}}, r"\['space'\]: unknown key 'width'"),
        ({"quick": 3}, "expected a mapping, got 3"),
        ([1], "expected a mapping"),
        ("no_such_module:PRESETS", "cannot import 'no_such_module:PRESETS'"),
    ],
)
def test_a_wrong_table_is_its_plugins_error(toy_registry, presets, told):
    """Even under another preset: who tries a plugin with one is to hear of its mistakes."""
    with_presets(toy_registry, "space", "vgg9", presets)
    with pytest.raises(PluginError, match=f"space 'vgg9' of hnas-toy 1.0: .*{told}"):
        load(toy_registry, preset="small")
    assert load(toy_registry, flags={"space": "deep"}).config.space.name == "deep"


def test_a_users_option_that_the_plugin_lacks_is_a_mistake(toy_registry):
    found = mistakes(toy_registry, flags={"space": "deep"}, sets=[("space.base_width", "16")])
    assert found == ["--set space.base_width=16: unknown key  -> known: space.depth"]


def test_options_that_a_file_gives_for_another_plugin_do_not_leak(toy_registry, toml):
    """`[space] name = "deep"` in a file and --space on the command line: the table was not meant for that space."""
    path = toml('[space]\nname = "deep"\ndepth = 9\n')
    loaded = load(toy_registry, file=path, flags={"space": "vgg9"})
    assert loaded.config.space.options.base_width == WIDTH
    assert loaded.notes == (f"space.depth ({path} line 3) was given for 'deep' and is not used with 'vgg9'",)


def run_file(tmp_path: Path, text: str) -> Path:
    """Write a file as it stands in a run's folder."""
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "config.toml").write_text(text)
    return tmp_path / "config.toml"


def test_values_of_a_run_that_its_user_never_gave_are_not_noted_for_another_plugin(tmp_path):
    """`hnas adapt RUN --backend x86` printed nine lines about options of eyeriss, all of them defaults."""
    recorded = load(Registry(), preset="quick").config
    text = dump_toml(recorded)
    path = run_file(tmp_path, text)
    loaded = load(Registry(), file=path, flags={"backend": "x86", "strategy": "nsga2"})
    assert loaded.notes == ()
    assert loaded.config.strategy.options.population == 40  # of the preset, which nsga2 has too
    given = text.replace("clock_mhz = 200.0", "clock_mhz = 100.0")
    assert given != text
    (note,) = load(Registry(), file=run_file(tmp_path, given), flags={"backend": "x86"}).notes
    assert note.startswith("backend.clock_mhz (")
    assert note.endswith("was given for 'eyeriss' and is not used with 'x86'")


def test_an_option_that_the_user_gave_and_both_plugins_have_is_kept(tmp_path, toml):
    path = toml('[strategy]\nname = "genetic"\npopulation = 7\nelite = 0.5\n')
    loaded = load(Registry(), file=path, flags={"strategy": "random"})
    assert loaded.config.strategy.options.population == 7
    assert loaded.notes == (f"strategy.elite ({path} line 4) was given for 'genetic' and is not used with 'random'",)
    of_run = dump_toml(load(Registry(), preset="quick", sets=[("backend.clock_mhz", "100")]).config)
    loaded = load(Registry(), file=run_file(tmp_path, of_run), flags={"backend": "eyeriss-rs"})
    assert loaded.config.backend.options.clock_mhz == 100
    assert loaded.notes == ()


def test_an_unknown_plugin_is_a_plugin_error_with_its_place_and_the_other_mistakes(toy_registry, toml):
    path = toml('seed = "x"\nspace = "vg9"\n')
    with pytest.raises(PluginError, match=r"line 2: unknown space 'vg9'.*Did you mean 'vgg9'") as error:
        load(toy_registry, file=path)
    assert error.value.exit_code == 4
    assert "line 1: seed: expected int, got str 'x'" in str(error.value)


def test_a_required_option_is_asked_for(make_distribution, make_registry, toy_registry):
    source = (
        "from attrs import frozen\nfrom hnas import Plugin, hookimpl\n\n"
        "@frozen(kw_only=True)\nclass Options:\n    host: str\n\n"
        "@hookimpl\ndef hnas_backends():\n    return [Plugin(name='ssh', summary='', factory=int, options=Options)]\n"
    )
    make_distribution("hnas-backend-ssh", source)
    found = mistakes(make_registry(), flags={"backend": "ssh"})
    assert found == ["backend.host: missing: the backend 'ssh' needs it, a value of str"]


def test_a_class_in_user_code_is_recorded_by_its_absolute_path(toy_registry, tmp_path, monkeypatch):
    (tmp_path / "own_space_for_config.py").write_text(
        "from attrs import frozen\nfrom hnas import SearchSpace\n\nclass Own(SearchSpace):\n"
        "    name = 'own'\n    choices = ()\n    @frozen\n    class Options:\n        size: int = 1\n"
        "    def layers(self, arch, input_shape, n_way): return []\n    def supernet(self, input_shape, n_way): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    given = {"flags": {"space": "./own_space_for_config.py:Own"}, "sets": [("space.size", "4")]}
    chosen = load(toy_registry, **given).config.space
    assert chosen.name == f"{tmp_path / 'own_space_for_config.py'}:Own"
    assert chosen.options.size == 4


# ---------------------------------------------------------------- mistakes


def test_every_mistake_of_every_source_is_shown_at_once_in_order(toy_registry, toml):
    path = toml(
        "\n"
        'backnd = "eyeriss"\n'
        "epochs = 3\n"
        'constraints = ["latency<1ms"]\n'
        "[search]\n"
        'tasks = "100"\n'
        'fitness = "qery"\n'
        "pool = true\n"
        "[space]\n"
        'downsample = "pol"\n'
        "base_width = 0\n"
        "[retrain]\n"
        "epochs = -3\n"
        "[unknown_table]\n"
    )
    found = mistakes(toy_registry, file=path, env={"HNAS_SEEDD": "1"}, sets=[("seed", "x")], flags={"workers": -1})
    assert found == [
        "line 2: backnd: unknown key  -> did you mean 'backend'?",
        "line 3: epochs: unknown key  -> did you mean 'meta_train.epochs' or 'retrain.epochs'?",
        found[2],
        "line 6: search.tasks: expected int, got str '100'",
        "line 7: search.fitness: expected one of 'query', 'support', got 'qery'  -> did you mean 'query'?",
        "line 8: search.pool: expected int, got bool True",
        "line 10: space.downsample: expected one of 'stride', 'pool', got 'pol'  -> did you mean 'pool'?",
        "line 11: space.base_width: must be > 0, got 0",
        "line 13: retrain.epochs: must be > 0, got -3",
        f"line 14: unknown_table: unknown key  -> known: {', '.join(f.name for f in attrs.fields(Config))}",
        "HNAS_SEEDD: unknown key  -> did you mean 'HNAS_SEED'?",
        "--workers: must be >= 0, got -1",
        "--set seed=x: expected int, got str 'x'",
    ]
    assert found[2].startswith("line 4: constraints: constraint 'latency<1ms'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[search]\npoool = 1\n", "line 2: search.poool: unknown key  -> did you mean 'search.pool'?"),
        ("search = 3\n", "line 1: search: expected a table, got int 3"),
        ("space = 3\n", "line 1: space: expected a plugin's name or a table, got 3"),
        ("[seed]\nx = 1\n", "line 1: seed: expected int, got table {'x': 1}"),
        ("constraints = [1]\n", "line 1: constraints: expected list of str, got list [1]"),
        ('constraints = "params<=1K"\n', "line 1: constraints: expected list of str, got str 'params<=1K'"),
        ("meta_train = {epochs = 1.5}\n", "line 1: meta_train.epochs: expected int, got float 1.5"),
        ("meta_train.epochs = true\n", "line 1: meta_train.epochs: expected int, got bool True"),
        (
            'preset = "quik"\n',
            "line 1: preset: unknown preset 'quik'. Did you mean 'quick'? Known: none, quick, small, paper",
        ),
        ("[space]\nname = 1\n", "line 2: space.name: expected str, got int 1"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(toy_registry, toml, text, message):
    assert mistakes(toy_registry, file=toml(text)) == [message]


def test_lines_are_right_below_strings_that_look_like_keys(toy_registry, toml):
    path = toml('# seed = 1\n[tasks]\nroot = """\nscales = 1\n"""\n\nscales = 3 # not this one: seed = 2\n')
    # The scan finds `scales = 1` in the text first: known, and no worse than a line that is too early.
    (found,) = mistakes(toy_registry, file=path)
    assert found.endswith("tasks.scales: expected list of float, got int 3")


def test_a_file_that_is_missing_or_no_toml(toy_registry, toml, tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*none\.toml: No such file"):
        load(toy_registry, file=tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"is not TOML: .*line 2"):
        load(toy_registry, file=toml("seed = 1\nworkers =\n"))


def test_an_int_is_a_float_but_nothing_else_is_converted(toy_registry):
    assert load(toy_registry, sets=[("meta_train.shrink_decay", "5")]).config.meta_train.shrink_decay == 5.0
    for text in ("true", "x", "[5]"):
        with pytest.raises(ConfigError, match="expected float"):
            load(toy_registry, sets=[("meta_train.shrink_decay", text)])


def test_truth_may_be_written_as_in_toml_or_as_in_python():
    for text, value in {"true": True, "True": True, "false": False, "False": False}.items():
        assert read_text(text, bool) is value
    assert read_text("True", str) == "True"
    with pytest.raises(ValueError, match="expected bool"):
        read_text("TRUE", bool)


# ---------------------------------------------------------------- presets


@pytest.mark.parametrize("preset", PRESETS)
def test_every_key_of_a_preset_means_something(preset):
    """A preset's plugin options are passed over where they do not fit, so a misspelt one would do nothing."""
    registry = Registry(third_party=False)
    loaded = load(registry, preset=preset)
    for section, table in PRESETS[preset].items():
        for key in table:
            where = getattr(loaded.config, section)
            options = where.options if isinstance(where, PluginChoice) else where
            field = attrs.fields_dict(type(options))[key]
            value = table[key]
            assert read(value, field.type if isinstance(field.type, type) else type(value)) == getattr(options, key)
    for kind in KINDS:
        for found in registry.list(kind):
            for section, values in presets_of(found).get(preset, {}).items():
                special = getattr(load(registry, preset=preset, flags={kind: found.plugin.name}).config, section)
                known = attrs.fields_dict(type(special.options if isinstance(special, PluginChoice) else special))
                assert set(values) <= set(known)


# ---------------------------------------------------------------- arguments of a Python program


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (Given(seed=1, settings={"seed": 2}), "seed is given twice, as 2 and as 1"),
        (Given(n_way=3, settings={"task": {"n_way": 4}}), "task.n_way is given twice, as 4 and as 3"),
        (Given(space={"name": "vgg9", "base_width": 8}, settings={"space.base_width": 16}), "as 16 and as 8"),
        (Given(space="vgg9", settings={"space.name": "resnet12"}), "space.name is given twice"),
        (Given(settings={"task.n_way": 3, "task": {"n_way": 4}}), "as 3 and as 4"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(given, seen):
    with pytest.raises(ConfigError, match=re.escape(seen)):
        load_config(Registry(third_party=False), **given.sources())


def test_an_argument_may_repeat_a_setting():
    given = Given(space={"name": "vgg9", "base_width": 8}, seed=2, settings={"space.base_width": 8, "seed": 2})
    config = load_config(Registry(third_party=False), **given.sources()).config
    assert (config.seed, config.space.options.base_width) == (2, 8)


# ---------------------------------------------------------------- removed options


def test_a_removed_option_of_the_users_is_a_mistake_that_says_so(toml):
    path = toml('[space]\nheads = "shared"\nkernels = "own"\n[learner]\nrates_by_group = false\n')
    given = {"env": {"HNAS_SPACE__HEADS": "shared"}, "sets": [("space.norms", "sum"), ("learner.rates_by_group", "x")]}
    registry = Registry(third_party=False)
    assert mistakes(registry, file=path, **given, arguments={"space.heads": "depth"}) == [
        "line 2: space.heads: this option was removed",
        "line 3: space.kernels: 'own' was removed, expected one of 'crop', 'transform'",
        "line 5: learner.rates_by_group: this option was removed",
        "HNAS_SPACE__HEADS: space.heads: this option was removed",
        "--set space.norms=sum: 'sum' was removed, expected one of 'shared', 'activation'",
        "space.heads: this option was removed",
        "--set learner.rates_by_group=x: this option was removed",
    ]
