"""Conformance tests for super-nets that are trained already: files, card, configuration, weights, and a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from hnas.discovery import Registered, Registry
from hnas.episode import Episodes
from hnas_app.config.schema import Config
from hnas_app.runs.session import setup_of
from hnas_app.supernets.files import PARTS, content, descriptor_of
from hnas_app.supernets.unpacking import check_fit, configured, read_weights
from hnas_app.testing.expectation import ending, expect


class PretrainedSuperNetConformance(ABC):
    """Tests of a super-net that a distribution publishes. Files that lie at an address are fetched before.

    pytest collects subclasses whose names begin with ``Test``.
    """

    @abstractmethod
    def make(self) -> Registered:
        """Return the super-net as it was found: ``hnas.Registry().get("supernet", "NAME")``."""

    @cached_property
    def _registry(self) -> Registry:
        return Registry(strict=False, warn=lambda text: None)

    def _config(self) -> Config:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "config.toml"
            path.write_bytes(content(self.make(), "config"))
            path.with_name("run.json").touch()  # it is read as the file of a run
            return configured(self.make(), self._registry, path)

    def test_files_are_those_of_the_descriptor(self) -> None:
        """A file that was changed after its checksum was taken is refused by everyone who has it."""
        with ending("files of the size and sha256 of the descriptor", "write those of the message into it"):
            for part in PARTS:
                content(self.make(), part)

    def test_the_card_says_under_which_licence(self) -> None:
        """The card is what users read before they rely on the weights."""
        registered = self.make()
        card, licence = content(registered, "card").decode("utf-8", "replace"), descriptor_of(registered).licence
        then = "write data, licence, budget, accuracies and limits into it, the licence in the words of the descriptor"
        expect(bool(card.strip()), "a model card with some text", "an empty file", then)
        expect(licence in card, f"a model card that names the licence {licence!r}", card[:200], then)

    def test_its_configuration_is_known_here(self) -> None:
        """The super-net is built from it: a space or an option that nobody has makes the weights useless."""
        with ending("settings that this hnas knows", "pack it with this version, and declare `requires`"):
            self._config()

    def test_its_weights_fit_its_space(self) -> None:
        """Names, shapes and types of the tensors are those of the space's super-net, for the images declared."""
        registered, then = self.make(), "pack the run again: hnas plugins new supernet NAME --from RUN"
        config = self._config()
        with ending("weights for the space of the configuration, and its images", then):
            check_fit(registered, self._registry, config, read_weights(registered, content(registered, "weights"))[0])

    def test_it_serves_the_classes_it_declares(self) -> None:
        """A user with as many classes relies on it: without a shared classifier it has so many outputs."""
        fewest, most = descriptor_of(self.make()).n_way
        setup = setup_of(self._config(), self._registry)
        then = "correct n_way of the descriptor, or train it with space.classifier=shared"
        expect(fewest <= setup.n_way <= most, f"n_way to include the {setup.n_way} of training", (fewest, most), then)
        if not setup.any_n_way:
            expect(most == setup.n_way, f"at most the {setup.n_way} classes of its outputs", most, then)

    def test_it_adapts_to_a_task(self) -> None:
        """The smallest network is adapted to a task of noise: its loss is a finite number."""
        import torch

        registered, setup = self.make(), setup_of(self._config(), self._registry)
        state = read_weights(registered, content(registered, "weights"))[0]
        generator = torch.Generator().manual_seed(0)
        images = torch.rand((2, 1, setup.n_way, *setup.image_shape), generator=generator)
        labels = torch.arange(setup.n_way)[None]
        task = Episodes(support_x=images[0], support_y=labels, query_x=images[1], query_y=labels)
        then = "train it longer, or with lower rates: its weights are no numbers, or too large"
        with ending("a task to be learnt", then) as seen:
            loss = setup.learner.score(setup.supernet, state, task, setup.space.smallest()).loss
            seen += [] if bool(loss.isfinite().all()) else [f"a loss of {loss.tolist()}"]
