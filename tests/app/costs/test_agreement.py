"""How estimates are judged, and the line that calibrates them."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnas_app.costs.agreement import agreement, calibrate, kendall_tau

VALUES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=12)


@given(VALUES)
def test_tau_is_concordant_minus_discordant_pairs(pairs):
    """Ties count wrongly, and the ranking of a table or a super-net is over- or understated."""
    a, b = zip(*pairs, strict=True)
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in combinations(range(len(a)), 2)]
    untied = sum(abs(x) for x, _ in signs) * sum(abs(y) for _, y in signs)
    expected = sum(x * y for x, y in signs) / untied**0.5 if untied else 0.0
    assert kendall_tau(a, b) == pytest.approx(expected)


def test_the_measures_are_those_of_their_names():
    """A verification reports percents as fractions, or errors of the wrong sign."""
    found = agreement([1.0, 3.0, 2.0], [2.0, 4.0, 2.0])
    assert (found.networks, found.mse) == (3, pytest.approx(2 / 3))
    assert found.nmse == pytest.approx(2 / 3 / (8 / 3) ** 2)
    assert found.mape == pytest.approx(100 * (0.5 + 0.25) / 3)
    assert found.ratio == pytest.approx(4 / 3)
    assert found.tau == pytest.approx(2 / 6**0.5)


def test_a_line_is_found_and_judged_by_networks_that_it_has_not_seen():
    """Calibration is fitted and judged on the same networks, so that it always looks like a gain."""
    sums = np.linspace(1, 10, 40)
    line = calibrate(sums, 1.2 * sums + 0.3)
    assert (line.slope, line.offset) == (pytest.approx(1.2), pytest.approx(0.3))
    assert line.helps
    assert line.mape_after < 1e-9 < line.mape_before
    assert line.networks == 20


def test_a_line_that_does_not_help_is_not_said_to():
    """Noise is fitted, and estimates become worse."""
    sums = np.linspace(1, 10, 12)
    measured = sums.copy()
    measured[::2] *= 1.5  # what is fitted differs from what judges
    assert not calibrate(sums, measured).helps


def test_three_networks_make_no_line():
    with pytest.raises(ValueError, match="got 3"):
        calibrate([1, 2, 3], [1, 2, 3])
