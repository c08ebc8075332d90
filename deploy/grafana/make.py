"""Writes penstock.json, the dashboard for Grafana: ``python deploy/grafana/make.py``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rows_money
import rows_traffic
from panel import Panel, Row

FILE = Path(__file__).with_name("penstock.json")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA = 41
"""Grafana 11.6 and 12.0; later versions move it forward themselves."""

WINDOWS = ("5m", "15m", "1h", "6h", "1d")
WIDE = 24
"""Columns of the grid."""


def dashboard() -> dict[str, Any]:
    return {
        "annotations": {"list": []},
        "description": "Penstock: latency against its target, batches, errors, and what every query costs.",
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [],
        "panels": list(_laid_out()),
        "refresh": "30s",
        "schemaVersion": SCHEMA,
        "tags": ["penstock", "inference"],
        "templating": {"list": _variables()},
        "time": {"from": "now-3h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": "Penstock",
        "uid": "penstock",
        "version": 1,
        "weekStart": "",
    }


def _laid_out() -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    for row in (*rows_traffic.ROWS, *rows_money.ROWS):
        yield _heading(row, number, y)
        number, y, x = number + 1, y + 1, 0
        for panel in row.panels:
            if x + panel.wide > WIDE:
                x, y = 0, y + row.high
            place = {"h": row.high, "w": panel.wide, "x": x, "y": y}
            yield _panel(panel) | {"id": number, "gridPos": place}
            number, x = number + 1, x + panel.wide
        y += row.high


def _heading(row: Row, number: int, y: int) -> dict[str, Any]:
    place = {"h": 1, "w": WIDE, "x": 0, "y": y}
    return {
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "id": number,
        "gridPos": place,
        "panels": [],
    }


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "targets": [_target(panel, at, *query) for at, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(panel: Panel, at: int, expression: str, legend: str) -> dict[str, Any]:
    form = {"heatmap": "heatmap", "table": "table"}.get(panel.kind, "time_series")
    once = panel.kind in ("table", "bargauge")
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expression,
        "format": form,
        "instant": once,
        "legendFormat": legend,
        "range": not once,
        "refId": "ABCDEFGH"[at],
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "color": {"mode": "thresholds" if panel.limits else "palette-classic"},
        "mappings": [],
        "thresholds": {"mode": "absolute", "steps": _steps(panel)},
        "unit": panel.unit,
    }
    if panel.least is not None:
        defaults["min"] = panel.least
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "fillOpacity": 30 if panel.stacked else 5,
            "lineWidth": 1,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
        }
    return defaults


def _steps(panel: Panel) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    return steps + [{"color": color, "value": value} for color, value in panel.limits]


def _options(panel: Panel) -> dict[str, Any]:
    reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    legend = {"calcs": ["lastNotNull"], "displayMode": "list", "placement": "bottom", "showLegend": True}
    options: dict[str, dict[str, Any]] = {
        "timeseries": {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}},
        "stat": {
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": reduce,
            "textMode": "auto",
            "wideLayout": True,
        },
        "bargauge": {
            "displayMode": "basic",
            "namePlacement": "auto",
            "orientation": "horizontal",
            "reduceOptions": reduce,
            "showUnfilled": True,
            "valueMode": "color",
        },
        "heatmap": {
            "calculate": False,
            "cellGap": 1,
            "color": {"exponent": 0.5, "mode": "scheme", "scheme": "Blues", "steps": 64},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "tooltip": {"mode": "single", "yHistogram": False},
            "yAxis": {"axisPlacement": "left", "unit": panel.unit},
        },
        "table": {"cellHeight": "sm", "showHeader": True},
    }
    return options[panel.kind]


def _variables() -> list[dict[str, Any]]:
    here = 'job=~"$job", instance=~"$instance"'
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        _asked("job", "Job", "label_values(penstock_info, job)"),
        _asked("instance", "Server", 'label_values(penstock_info{job=~"$job"}, instance)'),
        _asked("model", "Model", f"label_values(penstock_model_state{{{here}}}, model)"),
        _asked(
            "version", "Version", f'label_values(penstock_model_state{{{here}, model=~"$model"}}, version)'
        ),
        _asked("tenant", "Tenant", f"label_values(penstock_tenant_queries_total{{{here}}}, tenant)"),
        {
            "name": "window",
            "label": "Cost over",
            "type": "interval",
            "query": ",".join(WINDOWS),
            "auto": False,
            "current": {"selected": True, "text": "15m", "value": "15m"},
            "refresh": 2,
            "options": [{"selected": each == "15m", "text": each, "value": each} for each in WINDOWS],
        },
    ]


def _asked(name: str, label: str, query: str) -> dict[str, Any]:
    """A variable whose values are those of a label, any number of which may be chosen."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "includeAll": True,
        "multi": True,
        "options": [],
        "refresh": 2,
        "regex": "",
        "sort": 1,
    }


def text() -> str:
    """What penstock.json holds."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
