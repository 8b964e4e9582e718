"""Writes Grafana's dashboards, or says which of them are stale: python -m tools.dashboards [--check].

They come from the tables of tools/dashboard_pages.py, by Grafana's own library, so that they are what Grafana reads.
It needs the group ops of the requirements: make .venv/ops.done.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shown
from grafana_foundation_sdk.models import dashboard as models

from tools.dashboard_pages import PAGES, Page, Panel

FOLDER: Final = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "dashboards"
SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="$datasource")
HEIGHT: Final = 8
NUMBER_HEIGHT: Final = 4


def written(page: Page) -> str:
    """The file of a dashboard."""
    made = (
        dashboard.Dashboard(page.title)
        .uid(page.name)
        .description(page.meaning)
        .tags(["waypost"])
        .editable()
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_environments())
        .link(dashboard.DashboardLink("Waypost").type(models.DashboardLinkType.DASHBOARDS).tags(["waypost"]))
    )
    ids = itertools.count(1)
    for title, panels in page.rows:
        made.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            made.with_panel((_number(panel) if panel.is_number else _lines(panel)).id(next(ids)))
    text: str = JSONEncoder(sort_keys=True, indent=1).encode(made.build())
    return text + "\n"


def _environments() -> dashboard.QueryVariable:
    """All of them stands for targets without that label too."""
    return (
        dashboard.QueryVariable("environment")
        .label("Environment")
        .datasource(SOURCE)
        .query("label_values(waypost_build_info, environment)")
        .refresh(models.VariableRefresh.ON_DASHBOARD_LOAD)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _number(panel: Panel) -> stat.Panel:
    made = stat.Panel().title(panel.title).description(panel.meaning).datasource(SOURCE).unit(panel.unit)
    made.span(panel.width).height(NUMBER_HEIGHT).thresholds(_thresholds(panel))
    made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    for query in _queries(panel):
        made.with_target(query)
    return made


def _lines(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().title(panel.title).description(panel.meaning).datasource(SOURCE).unit(panel.unit)
    made.span(panel.width).height(HEIGHT).min(0).fill_opacity(30 if panel.is_stacked else 5)
    made.legend(common.VizLegendOptions().show_legend(True).placement(shown.LegendPlacement.BOTTOM))
    made.tooltip(common.VizTooltipOptions().mode(shown.TooltipDisplayMode.MULTI))
    if panel.is_stacked:
        made.stacking(common.StackingConfig().mode(shown.StackingMode.NORMAL))
    if panel.warn_at is not None:
        made.thresholds(_thresholds(panel))
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(shown.GraphTresholdsStyleMode.LINE))
    for query in _queries(panel):
        made.with_target(query)
    return made


def _queries(panel: Panel) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery().expr(line.expression).legend_format(line.legend).ref_id(chr(ord("A") + number))
        for number, line in enumerate(panel.lines)
    ]


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color="green")]
    if panel.warn_at is not None:
        steps.append(models.Threshold(value=panel.warn_at, color="red"))
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def files() -> Mapping[Path, str]:
    """Every dashboard's file, and what it should hold."""
    return {FOLDER / f"{page.name}.json": written(page) for page in PAGES}


def main(arguments: list[str] | None = None) -> int:
    """The command's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.dashboards", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the stale files")
    if not parser.parse_args(arguments).check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for path, text in files().items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in files().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        sys.stderr.write(f"{path} is stale; run: python -m tools.dashboards\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
