"""The rules of grafana/dashboard-linter that can be checked without its PromQL parser, and a few of ours.

Prometheus itself checks the queries' syntax: see tests/e2e/prometheus.rs.
"""

import re

METRIC = re.compile(r"\b(?:corelane_\w+|process_\w+|up\b(?=\{))")
MATCHERS = '{job=~"$job", instance=~"$instance"'
# Their values are counted up for ever, so only a rate of them means anything.
RATES = re.compile(r"\b(?:rate|irate|increase)\($")


def panels(board: dict, rows: bool = False):
    """Every panel, those in collapsed rows included, in the order of the page."""
    for panel in board["panels"]:
        if rows or panel["type"] != "row":
            yield panel
        yield from panel.get("panels", []) if panel["type"] == "row" else []


def complaints(board: dict) -> list[str]:
    """What is wrong, a sentence each."""
    found = []

    def expect(holds: bool, text: str) -> None:
        if not holds:
            found.append(f"{board['uid']}: {text}")

    expect(not board["editable"], "can be edited in Grafana, where changes would be lost")
    expect("corelane" in board["tags"], "has no tag corelane")
    ids = [panel["id"] for panel in panels(board, rows=True)]
    expect(len(ids) == len(set(ids)), "two panels have the same id")
    _variables(board, expect)
    for panel in panels(board):
        _panel(panel, lambda holds, text: expect(holds, f"panel {panel.get('title')!r} {text}"))
    for annotation in board["annotations"]["list"]:
        _annotation(annotation, lambda holds, text: expect(holds, f"annotation {annotation['name']!r} {text}"))
    return found


def _annotation(annotation, expect):
    expect(annotation["datasource"]["uid"] == "${datasource}", "has another data source")
    expect("{{instance}}" in annotation["titleFormat"], "doesn't say of which instance it is")
    _query(annotation["expr"], expect)


def _variables(board, expect):
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    source = variables.get("datasource", {})
    expect(source.get("type") == "datasource" and source.get("query") == "prometheus", "has no variable datasource")
    expect(source.get("label") == "Data source", "the variable datasource has another label")
    for name in ("job", "instance"):
        expect(name in variables, f"has no variable {name}")
    for name, variable in variables.items():
        if variable["type"] != "query":
            continue
        expect(variable["datasource"]["uid"] == "${datasource}", f"the variable {name} has another data source")
        expect(variable["label"] == name.capitalize(), f"the variable {name} has another label")
        expect(variable["multi"] and variable["allValue"] == ".+", f"the variable {name} can't be several or all")
        expect(variable["refresh"] == 2, f"the variable {name} isn't read again when the time changes")
        expect(variable["query"].startswith("label_values("), f"the variable {name} isn't a label's values")


def _panel(panel, expect):
    expect(bool(panel.get("title")), "has no title")
    expect(len(panel.get("description", "")) > 40, "doesn't say what to do")
    expect(panel["datasource"]["uid"] == "${datasource}", "has another data source")
    expect(bool(panel["fieldConfig"]["defaults"].get("unit")), "has no unit")
    expect(bool(panel.get("targets")), "has no query")
    for target in panel.get("targets", []):
        _query(target["expr"], lambda holds, text: expect(holds, f"{text}: {target['expr']}"))


def _query(expr, expect):
    expect("@" not in expr, "has a placeholder left")
    for window in re.findall(r"\[([^\]]*)\]", expr):
        expect(window == "$__rate_interval", f"has the window {window}")
    for metric in METRIC.finditer(expr):
        name, rest = metric.group(), expr[metric.end() :]
        expect(rest.startswith(MATCHERS), f"{name} isn't limited to job and instance")
        if name.endswith(("_total", "_bucket", "_count", "_sum")):
            expect(bool(RATES.search(expr[: metric.start()])), f"{name} is no rate")
