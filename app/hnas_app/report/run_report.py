"""The report of one run: its verdict, tables and figures, as far as the run directory goes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import frozen

from hnas.architecture import Architecture, Option
from hnas.cost import Metric
from hnas.discovery import Registry
from hnas.errors import HnasError
from hnas_app.costs.limits import Limit
from hnas_app.report import html
from hnas_app.report.evidence import Evidence
from hnas_app.report.figures.front import front
from hnas_app.report.figures.learning import meta_training, retraining
from hnas_app.report.figures.network import network
from hnas_app.report.figures.picture import Picture
from hnas_app.report.figures.search import progress
from hnas_app.report.layers import Rebuilt, limits_of
from hnas_app.report.networks import costs_text, describe, describe_per_task, race_table, race_won, table
from hnas_app.report.pictures import confusion_table, remarks, rivals_table
from hnas_app.report.verdict import Reference, next_commands, verdict
from hnas_app.runs.run_dir import PHASES


@frozen(kw_only=True)
class RunReport:
    """What the report of a run is made of."""

    evidence: Evidence
    rebuilt: Rebuilt | None
    """``None`` if its layers cannot be known."""
    reference: Reference | None
    limits: tuple[Limit, ...]
    missing: tuple[str, ...]
    """What the report lacks, a sentence for each reason."""

    @classmethod
    def of(cls, evidence: Evidence, registry: Registry) -> RunReport:
        """Rebuild what the figures need beside the files; what cannot be had is named in `missing`."""
        missing, rebuilt, reference, limits = list(evidence.missing), None, None, tuple[Limit, ...]()
        try:
            rebuilt = Rebuilt.of(evidence, registry)
            reference = rebuilt.reference
        except (HnasError, ValueError, TypeError) as cause:
            if evidence.adaption or evidence.results:
                missing.append(f"the layers of the networks: {cause}")
        try:
            limits = tuple(limits_of(evidence, reference[2] if reference else None))
        except HnasError as cause:
            missing.append(f"the limits: {cause}")
        return cls(evidence=evidence, rebuilt=rebuilt, reference=reference, limits=limits, missing=tuple(missing))

    @property
    def metric(self) -> Metric | None:
        """The metric that counts: that of the first limit, or the device's first."""
        first = next((limit.metric for limit in self.limits), None)
        return first or next(iter(self.evidence.metrics), None)

    @property
    def verdict(self) -> str:
        return verdict(self.evidence, self.metric, self.reference)

    def options(self, arch: Architecture) -> dict[str, Option]:
        """Return the options of an architecture by name; none if the space is not known."""
        return self.rebuilt.space.options(arch) if self.rebuilt and arch.space == self.rebuilt.space.name else {}

    def pictures(self) -> list[Picture]:
        """Draw all that there is data for."""
        found, e = list[Picture | None](), self.evidence
        by_metric = {limit.metric: limit for limit in self.limits}
        for metric in list(by_metric) or [m for m in [self.metric] if m]:
            found.append(front(e, metric, by_metric.get(metric), self.options))
        if self.metric and self.rebuilt:
            found += [network(n, self.rebuilt.steps(arch), self.metric) for n, arch in self._drawn()]
        if self.metric:
            found.append(progress(e.iterations, self.metric, by_metric.get(self.metric), e.scored_on))
        found.append(meta_training(e.curves.get("meta-train", {}), e.config))
        found.append(retraining(e.curves, e.race))
        return [picture for picture in found if picture]

    def _drawn(self) -> list[tuple[str, Architecture]]:
        """Return the networks to draw: the one that was found and what it is compared with, each once."""
        if self.evidence.results and self.evidence.results.networks:
            networks = {n.arch: n.name for n in reversed(self.evidence.results.networks)}
            return [(name, arch) for arch, name in reversed(networks.items())]
        return [("chosen", self.evidence.adaption.chosen.arch)] if self.evidence.adaption else []

    def body(self, prefix: str, pictures: Sequence[Picture]) -> str:
        """Return the report as a part of a page, whose ids begin with ``prefix``."""
        e = self.evidence
        parts = [f"<p class=verdict>{html.text(self.verdict)}</p>", html.missing(self.missing)]
        parts += [self._results(), self._own_task()]
        if pictures:
            parts.append(html.figures((p, f"{prefix}-{p.name}") for p in pictures))
        if e.adaption and e.adaption.doubts:
            parts.append(html.missing(e.adaption.doubts, "The search's scores are doubtful:"))
        parts += [
            "<h3>What was run where</h3>",
            html.table(("", ""), self._where(), wrap=(1,)),
            html.hidden("all settings", html.table(("setting", "value"), sorted(e.config.items()), wrap=(1,))),
            "<h3>Next</h3>",
            html.commands(next_commands(e)),
        ]
        return "\n".join(parts)

    def _results(self) -> str:
        results, found = self.evidence.results, list[str]()
        if results is None:
            return ""
        head, rows = table(results)
        described = ["", *(describe(n.options) for n in results.networks), ""][results.per_task is None :]
        found.append(
            html.table(
                [*head, "architecture"],
                [[*row, arch] for row, arch in zip(rows, described, strict=True)],
                wrap=(len(head),),
            )
        )
        notes = [f"Both accuracies are on test tasks: {results.protocol}."]
        notes += [f"Limits: {', '.join(str(limit) for limit in self.limits) or ', '.join(results.limits)}."]
        notes += [f"{describe_per_task(results.per_task, results.metrics)}."] if results.per_task else []
        notes += [f"{sentence}." for sentence in results.missing]
        found += [f"<p class=faint>{html.text(note)}</p>" for note in notes]
        if results.race and results.race.heats:
            found += [html.table(*race_table(results.race)), f"<p class=faint>{html.text(race_won(results.race))}.</p>"]
        return "".join(found)

    def _own_task(self) -> str:
        """Return the result of a run for the user's own pictures: what `hnas adapt --pictures` prints."""
        own = self.evidence.own_task
        if own is None:
            return ""
        costs = f"{costs_text(own.cost, own.metrics)}; limits: {', '.join(own.limits)}"
        rows = [
            ("found", describe(own.options)),
            ("costs", costs),
            ("chosen by", f"{own.fitness}, {own.loss:.4f} nats"),
        ]
        if own.steps is not None:
            rows.append(("adapted by", f"{own.steps} steps; their number was chosen by the held-out pictures, too"))
        parts = [html.table(("", ""), rows, wrap=(1,))]
        if own.rivals:
            parts.append(html.table(*rivals_table(own)))
        parts += [f"<p class=faint>{html.text(remark)}.</p>" for remark in remarks(own)]
        if own.confusion:
            title, table = confusion_table(own)
            parts += [f"<p>{html.text(title)}</p>", html.table(*table)]
        return "".join(parts)

    def _where(self) -> list[tuple[str, str]]:
        e = self.evidence
        where, info = e.environment, e.table.info if e.table else None
        versions = ", ".join(f"{k} {v}" for k, v in {**where.get("packages", {}), **where.get("plugins", {})}.items())
        names = ("space", "learner", "strategy")
        rows = [
            ("run", str(e.path)),
            ("made", f"{e.record.get('created', 'unknown')} by hnas {e.record.get('hnas', 'unknown')}"),
            ("tasks", f"{e.task_name}; preset {e.config.get('preset')}, seed {e.config.get('seed')}"),
            ("plugins", ", ".join(f"{n} {e.config.get(f'{n}.name', 'unknown')}" for n in names)),
            ("device", f"{e.device}; {info.runtime}" if info else e.device),
            (
                "trained on",
                f"{where.get('cpu', 'unknown')}, {where.get('cores', '?')} cores, {where.get('platform', '')}",
            ),
            ("versions", f"python {where.get('python', 'unknown')}, {versions}"),
            *((f"phase {p}", _phase(e, p)) for p in PHASES if p in e.states),
        ]
        warnings = info.conditions.get("warnings", ()) if info else ()
        return rows + [("warning of the device", str(text)) for text in warnings]


def _phase(evidence: Evidence, phase: str) -> str:
    record = evidence.record["phases"][phase]
    told = evidence.states[phase]
    if "copied_from" in record:
        return f"{told}, of the super-net in {record['copied_from']}"
    try:
        begun, ended = (datetime.strptime(str(record[k]), "%Y-%m-%dT%H:%M:%S%z") for k in ("started", "ended"))
    except (KeyError, ValueError):
        return f"{told}, from {record.get('started', 'an unknown time')}"
    return f"{told} in {(ended - begun).total_seconds():,.0f} s, from {record['started']}"
