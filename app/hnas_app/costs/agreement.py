"""How well estimates of whole networks agree with measurements, and the line that brings them closer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from hnas.cost import CostTable
from hnas.layer import Shape
from hnas.space import SearchSpace
from hnas_app.costs.store import CostStore, scope

Values = Sequence[float] | np.ndarray[Any, Any]


@frozen(kw_only=True)
class Agreement:
    """The measures of the paper's Table 3, over several networks."""

    networks: int
    mse: float
    """Mean squared error, in the metric's unit squared."""
    nmse: float
    """The same of values divided by the mean of the measured ones: without a unit, so that devices can be compared."""
    mape: float
    """Mean absolute error over the measured value, in percent."""
    tau: float
    """Kendall's rank correlation, tau-b."""
    ratio: float
    """Median of measured over estimated."""


def agreement(estimated: Values, measured: Values) -> Agreement:
    """Compare estimates with measured values, which are positive, in the same unit and order."""
    guess, truth = np.asarray(estimated, dtype=float), np.asarray(measured, dtype=float)
    squares = (guess - truth) ** 2
    with np.errstate(divide="ignore"):
        ratios = truth / guess
    return Agreement(
        networks=len(truth),
        mse=float(squares.mean()),
        nmse=float(squares.mean() / truth.mean() ** 2),
        mape=float(100 * np.abs(guess / truth - 1).mean()),
        tau=kendall_tau(guess, truth),
        ratio=float(np.median(ratios)),
    )


def kendall_tau(a: Values, b: Values) -> float:
    """Return Kendall's tau-b: pairs in the same order minus pairs in the other, over those that are not tied.

    0 if all values of one of the two are equal.
    """
    x, y = (np.sign(np.subtract.outer(v, v)) for v in (np.asarray(a, dtype=float), np.asarray(b, dtype=float)))
    untied = np.sqrt(np.abs(x).sum() * np.abs(y).sum())
    return float((x * y).sum() / untied) if untied else 0.0


@frozen(kw_only=True)
class Calibration:
    """A line from the sum over a network's layers to the whole network: ``slope * sum + offset``."""

    slope: float
    offset: float
    networks: int
    """How many were fitted; as many others judged the line."""
    mape_before: float
    mape_after: float
    """Error for the networks that were not fitted, in percent."""

    @property
    def helps(self) -> bool:
        """Return whether networks that were not fitted are estimated better with the line than without."""
        return self.mape_after < self.mape_before


def calibrate(sums: Values, measured: Values) -> Calibration:
    """Fit a line through every other network, by relative error, and judge it by the others. Needs four networks."""
    x, y = np.asarray(sums, dtype=float), np.asarray(measured, dtype=float)
    if len(x) < 4:
        raise ValueError(f"a line needs four networks, two to fit and two to judge it; got {len(x)}")
    fit, judge = slice(0, None, 2), slice(1, None, 2)
    rows = np.stack([x[fit], np.ones(len(x[fit]))], axis=1) / y[fit, None]
    slope, offset = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
    before, after = (agreement(guess[judge], y[judge]).mape for guess in (x, slope * x + offset))
    return Calibration(
        slope=float(slope), offset=float(offset), networks=len(rows), mape_before=before, mape_after=after
    )


def calibrate_table(store: CostStore, table: CostTable, space: SearchSpace, input_shape: Shape) -> Calibration:
    """Fit the line to a table that whole networks have verified, and keep it if it lowers the held-out error.

    If it does not, the line of an earlier calibration is dropped. A line holds for this device, space and image size.
    Raises `ValueError` if fewer than four networks were measured.
    """
    verified: Mapping[str, Any] = table.check["verified"]
    line = calibrate(verified["estimated"], verified["measured"])
    kept, where = store.load_calibration(table.info), scope(space, input_shape)
    metric = table.info.metrics[0].name
    lines = {name: value for name, value in kept.get(where, {}).items() if name != metric}
    if line.helps:
        lines[metric] = [line.slope, line.offset]
    store.save_calibration(table.info, {**kept, where: lines})
    return line
