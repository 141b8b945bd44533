"""What every dashboard shares: its head and variables, and a short way to say each kind of panel.

In queries, `{@}` stands for the matchers of the variables job and instance (`{@, core="0"}` adds to them), and `[@]`
for `[$__rate_interval]`.
"""

from grafana_foundation_sdk.builders import bargauge, common as options, dashboard, heatmap, prometheus, stat
from grafana_foundation_sdk.builders import statetimeline, statushistory, table as tables, timeseries
from grafana_foundation_sdk.models import common, heatmap as heatmaps
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SCHEMA_VERSION = 41
WIDTH = 24
DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
INFO = "corelane_runtime_info{@}"

# Utilization and other shares of one: when to look, and when to act.
SHARE = [("green", None), ("yellow", 0.6), ("red", 0.9)]
# What should be 0.
NONE_WANTED = [("green", None), ("red", 1e-9)]


def new(uid: str, title: str, description: str) -> dashboard.Dashboard:
    """A dashboard with the variables and no panel."""
    board = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["corelane"])
        .timezone("browser")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .link(
            dashboard.DashboardLink("corelane")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["corelane"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    variable(board, "job", "label_values(corelane_build_info, job)")
    variable(board, "instance", 'label_values(corelane_build_info{job=~"$job"}, instance)')
    return board


def variable(board: dashboard.Dashboard, name: str, query: str) -> None:
    """Adds a variable of several values, all of them at first."""
    board.with_variable(
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(DATASOURCE)
        .query(query)
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def expand(expr: str) -> str:
    """Writes out `{@}` and `[@]`."""
    selector = 'job=~"$job", instance=~"$instance"'
    return expr.replace("{@", "{" + selector).replace("[@]", "[$__rate_interval]")


def annotations() -> list[dict]:
    """Marks on every graph: when a process started, and when it read its configuration again.

    The time of a mark is the query's value, in milliseconds, so that it is right whatever the resolution.
    """
    started = "process_start_time_seconds{@} and on (job, instance) corelane_build_info{@}"
    # A start reads the configuration, too, which is no reload.
    read = "corelane_config_last_reload_timestamp_seconds{@} > on (job, instance) process_start_time_seconds{@} + 2"
    return [
        _annotation("Starts", "started", "red", f"({started}) * 1000"),
        _annotation("Reloads", "reloaded its configuration", "blue", f"({read}) * 1000"),
    ]


def _annotation(name: str, what: str, color: str, expr: str) -> dict:
    return {
        "name": name,
        "datasource": {"type": DATASOURCE.type_val, "uid": DATASOURCE.uid},
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expand(expr),
        "step": "60s",
        "titleFormat": "{{instance}} " + what,
        "textFormat": "",
        "tagKeys": "",
        "useValueForTime": True,
    }


def query(expr: str, legend: str = "") -> prometheus.Dataquery:
    """A query over the dashboard's time."""
    return prometheus.Dataquery().datasource(DATASOURCE).expr(expand(expr)).legend_format(legend).range()


def now(expr: str, legend: str = "") -> prometheus.Dataquery:
    """A query of the last moment only."""
    return prometheus.Dataquery().datasource(DATASOURCE).expr(expand(expr)).legend_format(legend).instant()


def _panel(builder, title, description, unit, targets, width, height, steps):
    """What all kinds of panels have."""
    panel = builder.title(title).description(description).datasource(DATASOURCE)
    panel = panel.unit(unit).span(width).height(height)
    panel = panel.thresholds(
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(color=color, value=value) for color, value in steps or [("green", None)]])
    )
    for index, target in enumerate(targets):
        panel = panel.with_target(target.ref_id(chr(ord("A") + index)))
    return panel


def graph(title, description, unit, *targets, width=12, height=8, steps=None, stack=False, ceiling=None):
    """Lines over time. `steps` draws thresholds as lines; `ceiling` is the axis' end."""
    panel = _panel(timeseries.Panel(), title, description, unit, targets, width, height, steps)
    panel = (
        panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .legend(
            options.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["mean", "max", "lastNotNull"])
        )
        .tooltip(options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
        .fill_opacity(30 if stack else 10)
        .axis_soft_min(0)
    )
    if steps:
        panel = panel.thresholds_style(options.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    if stack:
        panel = panel.stacking(options.StackingConfig().group("A").mode(common.StackingMode.NORMAL))
    if ceiling is not None:
        panel = panel.min(0).max(ceiling)
    return panel


def figure(title, description, unit, expr, legend="", width=4, steps=None, decimals=None):
    """One number, with its recent course."""
    panel = _panel(stat.Panel(), title, description, unit, [query(expr, legend)], width, 4, steps)
    if decimals is not None:
        panel = panel.decimals(decimals)
    return (
        panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def bars(title, description, unit, expr, legend, width=12, height=8, steps=None, ceiling=1.0):
    """A bar for each series, now."""
    panel = _panel(bargauge.Panel(), title, description, unit, [now(expr, legend)], width, height, steps)
    return (
        panel.min(0)
        .max(ceiling)
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def timeline(title, description, unit, expr, legend, width=24, height=8, steps=None):
    """A band for each series, coloured by threshold: where and when at a glance."""
    panel = _panel(statetimeline.Panel(), title, description, unit, [query(expr, legend)], width, height, steps)
    return _bands(panel).merge_values(True)


def history(title, description, unit, expr, legend, width=24, height=12, steps=None):
    """As a timeline, for more series than a timeline has room for."""
    panel = _panel(statushistory.Panel(), title, description, unit, [query(expr, legend)], width, height, steps)
    return _bands(panel)


def _bands(panel):
    return (
        panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .show_value(common.VisibilityMode.NEVER)
        .row_height(0.9)
        .fill_opacity(85)
        .legend(
            options.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )


def up_and_down(panel):
    """Shows 1 and 0 as words."""
    words = {
        "0": ValueMappingResult(text="down", color="red", index=0),
        "1": ValueMappingResult(text="up", color="green", index=1),
    }
    return panel.mappings([ValueMap(options=words)])


def given_or_not(panel):
    """Shows 1 and 0 as words, of what is not wanted."""
    words = {
        "0": ValueMappingResult(text="no", color="transparent", index=0),
        "1": ValueMappingResult(text="given", color="orange", index=1),
    }
    return panel.mappings([ValueMap(options=words)])


def heat(title, description, unit, expr, width=12, height=8):
    """A histogram's buckets over time."""
    target = query(expr, "{{le}}").format(PromQueryFormat.HEATMAP)
    panel = _panel(heatmap.Panel(), title, description, unit, [target], width, height, None)
    return (
        panel.calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmaps.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .scale(heatmaps.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(common.AxisPlacement.LEFT))
        .cell_gap(1)
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .hide_from(options.HideSeriesConfig().legend(False).tooltip(False).viz(False))
        .tooltip(heatmap.HeatmapTooltip().mode(common.TooltipDisplayMode.SINGLE).y_histogram(True))
    )


def grid(title, description, keys, columns, width=24, height=10, sort=None):
    """A table: a row for each set of the labels `keys`, and columns of (name, unit, expr, thresholds).

    A column's unit of None is for one whose value says nothing, as of an info metric: it brings its labels only.
    """
    targets = [now(expr).format(PromQueryFormat.TABLE) for _, _, expr, _ in columns]
    panel = _panel(tables.Panel(), title, description, "short", targets, width, height, None)
    # The value's column is called "Value" when there is one query only.
    letters = [f" #{chr(ord('A') + index)}" if len(columns) > 1 else "" for index in range(len(columns))]
    hidden = {f"Value{letter}": True for letter, (_, unit, _, _) in zip(letters, columns) if unit is None}
    names = {f"Value{letter}": name for letter, (name, unit, _, _) in zip(letters, columns) if unit is not None}
    order = [*keys, *names]
    panel = panel.with_transformation(DataTransformerConfig(id_val="merge", options={})).with_transformation(
        DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True, **hidden},
                "indexByName": {name: index for index, name in enumerate(order)},
                "renameByName": names,
            },
        )
    )
    for name, unit, _, steps in columns:
        if unit is None:
            continue
        properties = [DynamicConfigValue(id_val="unit", value=unit)]
        if steps:
            values = [{"color": color, "value": value} for color, value in steps]
            properties += [
                DynamicConfigValue(id_val="thresholds", value={"mode": "absolute", "steps": values}),
                DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-background", "mode": "basic"}),
            ]
        panel = panel.override_by_name(name, properties)
    if sort:
        panel = panel.sort_by([options.TableSortByFieldState().display_name(sort).desc(True)])
    return panel
