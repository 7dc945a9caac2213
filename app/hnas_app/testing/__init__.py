"""What tests of a plugin need: a conformance class for each kind, and a space, a super-net and tasks in small.

Subclass the class of your plugin's kind in a test file, say in `make` how one is made, and run pytest: the built-in
plugins are held to the same tests. Of hnas, only this package is for tests; importing it imports neither torch nor
pytest.
"""

from hnas_app.testing.backend_conformance import BackendConformance
from hnas_app.testing.learner_conformance import LearnerConformance
from hnas_app.testing.networks import CHAIN, RESIDUAL
from hnas_app.testing.space_conformance import SpaceConformance
from hnas_app.testing.strategy_conformance import StrategyConformance
from hnas_app.testing.tasks_conformance import TasksConformance
from hnas_app.testing.tiny_space import TinySpace
from hnas_app.testing.tiny_tasks import TinyTasks

__all__ = [
    "CHAIN",
    "RESIDUAL",
    "BackendConformance",
    "LearnerConformance",
    "SpaceConformance",
    "StrategyConformance",
    "TasksConformance",
    "TinySpace",
    "TinyTasks",
]
