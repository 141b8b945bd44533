"""Writes the dashboards' JSON, after checking the rules of grafana/dashboard-linter.

    python generate.py FOLDER
"""

import json
import sys
from pathlib import Path

import cores
import overview
import schedulers
import upstreams
from common import SCHEMA_VERSION, annotations
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from lint import complaints, panels

BOARDS = (overview, cores, upstreams, schedulers)


def as_json(board) -> dict:
    """The dashboard as plain values, with what the builder leaves out."""
    plain = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    plain["schemaVersion"] = SCHEMA_VERSION
    plain["annotations"] = {"list": annotations()}
    # The builder would hide the links in a menu.
    for link in plain["links"]:
        del link["placement"]
    for index, panel in enumerate(panels(plain, rows=True)):
        panel["id"] = index + 1
    return plain


def main() -> int:
    folder = Path(sys.argv[1])
    found = []
    for module in BOARDS:
        board = as_json(module.build())
        found += complaints(board)
        text = json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False)
        (folder / f"{board['uid']}.json").write_text(text + "\n", encoding="utf-8")
    for complaint in found:
        print(complaint, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
