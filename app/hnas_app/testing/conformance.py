"""The base of the conformance classes of all kinds: how the plugin is made, and the checks of its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar, get_type_hints

import attrs

from hnas.learner import MetaLearner
from hnas.seeds import Seeds
from hnas.space import SearchSpace
from hnas_app.config.dump import toml_value
from hnas_app.config.schema import MetaTrainConfig
from hnas_app.config.values import read_text
from hnas_app.testing.expectation import GlobalRandomness, ending, expect, not_applicable
from hnas_app.training.sampling.architectures import check_sampling
from hnas_app.training.sampling.schedules import schedules_of

T = TypeVar("T")


class Conformance(ABC, Generic[T]):
    """The base of the conformance classes. pytest collects subclasses whose names begin with ``Test``."""

    options: type | None = None
    """The attrs class of the plugin's options; by default the class ``Options`` of what `make` returns, if any."""

    @abstractmethod
    def make(self) -> T:
        """Make the plugin, as small as its options allow. Called several times in a test: all must be alike."""

    def options_class(self) -> type:
        """Return the options class; without one the test is skipped."""
        found = self.options or getattr(type(self.make()), "Options", None)
        if found is None:
            not_applicable("the plugin declares no options")
        return found

    def test_options_have_types_defaults_and_help(self) -> None:
        """A run must start without any setting, and ``hnas plugins show`` must be able to explain each."""
        options = self.options_class()
        expect(attrs.has(options), "options to be an attrs class", options, "decorate it with @attrs.frozen")
        fields = attrs.fields(options)
        bare = [f.name for f in fields if f.default is attrs.NOTHING]
        expect(
            not bare, "a default for every option", f"none for {', '.join(bare)}", "give it by hnas.settings.setting"
        )
        silent = [f.name for f in fields if not f.metadata.get("help")]
        then = "write FIELD: TYPE = hnas.settings.setting(DEFAULT, HELP)"
        expect(not silent, "a help text for every option", f"none for {', '.join(silent)}", then)

    def test_options_survive_the_configuration_file(self) -> None:
        """A run writes its options down as TOML and reads them back when it is resumed; ``--set`` gives text, too."""
        options = self.options_class()
        hints: dict[str, Any] = get_type_hints(options)
        made = options()
        for f in attrs.fields(options):
            value = getattr(made, f.name)
            if value is None:
                continue  # left out of the file
            text = toml_value(value, f.name)
            try:
                back: Any = read_text(text, hints[f.name])
            except ValueError as cause:
                back = f"{cause}"
            then = f"make the default and the type of {f.name} agree: 1.0, not 1, for a float, and a tuple for a tuple"
            expect(back == value, f"the option {f.name} = {text} to be read back as {value!r}", back, then)


def expect_sound_schedules(space: SearchSpace, learner: MetaLearner | None = None) -> None:
    """Fail the test if a schedule of the space, or of the learner if one is given, could not be trained by."""
    __tracebackhide__ = True
    untouched = GlobalRandomness()
    then = "return a mapping of names to functions of (generator, iteration, total iterations, architectures)"
    with ending("schedules by name", then):
        names = [n for n in schedules_of(space, learner) if n.startswith("learner:") or learner is None]
    then = "draw 1 to 8 members of the space from the generator alone, and keep no memory: see hnas.space.Schedule"
    for name in names:
        config = MetaTrainConfig(epochs=4, iterations=10, tasks=8, architectures=4, sampling=name)
        with ending(f"{name} to draw architectures of the space, the same ones again", then):
            check_sampling(space, learner, config, Seeds(0))
    untouched.expect_untouched("a schedule")
