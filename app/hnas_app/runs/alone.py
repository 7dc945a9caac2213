"""Phase 4: the networks of a run, each trained alone, and the race that decides which of them was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from hnas.architecture import Architecture
from hnas.errors import DivergenceError
from hnas.events import Event, Listener
from hnas.learner import State
from hnas_app.config.schema import Config, MetaTrainConfig, RetrainConfig
from hnas_app.executors.interface import Executor
from hnas_app.runs.run_dir import RunDir
from hnas_app.search.adapt import Adaption
from hnas_app.search.compared import SCALED
from hnas_app.search.finalists import entrants
from hnas_app.training.best import kept
from hnas_app.training.race import FILE, FOUND, Race, mean_accuracy, race, read_race
from hnas_app.training.retrain import retrain
from hnas_app.training.setup.setup import Setup
from hnas_app.training.short import longest


@frozen(kw_only=True)
class Alone:
    """Trains the networks of a run alone, each by a name, and goes on where its training stopped."""

    run: RunDir
    config: Config
    setup: Setup
    supernet: State
    executor: Executor
    emit: Listener
    adapt: Callable[[], Adaption]
    """Returns the result of the search."""
    compared: Mapping[str, Architecture]
    """The networks to compare with, by name."""

    def folder(self, name: str) -> Path:
        """Return the folder of the checkpoints of a network."""
        return self.run.checkpoints / f"retrain-{name}"

    def train(self, name: str, arch: Architecture, until: int | None = None) -> tuple[Setup, State]:
        """Return the set-up of ``arch`` alone and its learnt state, after ``until`` iterations or at the end."""
        folder, config = self.folder(name), self.config.retrain
        phase = "retrain" if name == FOUND else f"retrain {name}"
        trained = retrain(
            self.setup,
            self.supernet,
            arch,
            config,
            self.executor,
            phase=phase,
            folder=folder,
            emit=self.emit,
            finished=self.run.is_done("retrain"),
            until=until,
        )
        if until is None:
            note_kept(self.run, phase, folder, config)
        return trained

    def train_all(self) -> dict[str, tuple[Setup, State]]:
        """Train the network that was found and those to compare with, and return them by name.

        The run goes on without those to compare with that diverge. Raises `DivergenceError` if all others do.
        """
        if self.searches:
            self._train_found()
        trained: dict[str, tuple[Setup, State]] = {}
        for name, (trained_as, arch) in self.names().items():
            if name in self.diverged:
                continue
            try:
                trained[name] = self.train(trained_as, arch)
            except DivergenceError as cause:
                self._note(f"{cause}; the run goes on without {name}")
                self.run.update(diverged={**self.diverged, name: str(cause)})
        return trained

    @property
    def diverged(self) -> dict[str, str]:
        """The networks to compare with whose training diverged, with the error of each."""
        return dict(self.run.record().get("diverged", {}))

    def names(self) -> dict[str, tuple[str, Architecture]]:
        """Return the networks of the run by name, each with the name that it is trained by; equal ones share one."""
        race = self.raced
        names = {arch: name for name, arch in race.networks.items()} if race else {}
        networks = {FOUND: self.found[1]} if self.searches else {}
        return {name: (names.setdefault(a, name), a) for name, a in (networks | {**self.compared}).items()}

    # ---------------------------------------------------------------- which of them was found

    @property
    def searches(self) -> bool:
        """Whether one network is found for all test tasks, and not one for each of them."""
        return self.config.evaluate.architecture == "found"

    @property
    def found(self) -> tuple[str, Architecture]:
        """The network that was found: the name that it is trained by, and its architecture.

        It is the winner of the race if there was one, else the search's choice.
        """
        race = self.raced
        return race.winner if race else (FOUND, self.adapt().chosen.arch)

    @property
    def raced(self) -> Race | None:
        """The race of the finalists as far as it has come, if there was one. Raises `DataError` if it is damaged."""
        needed = self.run.is_done("retrain") and len(self._entrants()) > 1
        return read_race(self._record) if needed or self._record.is_file() else None

    @property
    def _record(self) -> Path:
        return self.run.path / FILE

    def _entrants(self) -> dict[str, Architecture]:
        """Return the networks that race: finalists of the search, and the scaled reference with them."""
        count = self.config.retrain.finalists
        if count == 1 or not self.searches or self.config.search.architecture:
            return {}
        found = self.adapt()
        count *= 2 if found.doubts else 1  # what the scores cannot decide, training has to
        networks = entrants(found.finalists, count)
        scaled = self.compared.get(SCALED)
        return networks if scaled is None or scaled in networks.values() else {**networks, SCALED: scaled}

    @property
    def _total(self) -> int:
        return longest(self.config.retrain)

    def _train_found(self) -> None:
        """Race the finalists, of whom the winner is trained to the end; without a race, train the search's choice."""
        networks = self._entrants()
        scaled = [name for name, arch in networks.items() if arch == self.compared.get(SCALED)]  # it has a row anyway
        if len(networks) > 1:
            race(networks, self._accuracy_after, self._total, self._record, self._note, to_the_end=scaled)
        self.train(*self.found)

    def _accuracy_after(self, name: str, arch: Architecture, iterations: int) -> float:
        """Train a network for some iterations, or to the end, and return its accuracy on validation tasks."""
        alone, state = self.train(name, arch, iterations if iterations < self._total else None)
        n_tasks, n_query = self.config.retrain.race_tasks, self.config.search.n_query
        return mean_accuracy(alone, state, arch, n_tasks, n_query, self.executor)

    def _note(self, text: str) -> None:
        self.emit(Event(phase="retrain", kind="note", text=text))


def note_kept(run: RunDir, phase: str, folder: Path, config: MetaTrainConfig | RetrainConfig) -> None:
    """Put into ``run.json`` where a training stopped, and what it kept, if it kept its best state."""
    noted = run.record().get("kept", {})
    if (config.keep_best or config.patience) and (found := kept(folder)) != noted.get(phase):
        run.update(kept={**noted, phase: found})
