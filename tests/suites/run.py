#!/usr/bin/env python3
"""Runs the peers' own test suites against corelane, which `shim.py` lets pose as nginx and HAProxy.

    CORELANE_NGINX_TESTS=PATH CORELANE_HAPROXY=PATH python3 tests/suites/run.py [nginx] [haproxy] [--write] [TEST …]

The suites come from outside: checkouts of nginx/nginx-tests and haproxy/haproxy. One that is not there is left out, and
said. The first needs perl's `prove`, the second `varnishtest` (Debian's package varnish). CORELANE is the binary, or
target/release/corelane or target/debug/corelane is taken.

What comes out is compared with the table in docs/COMPATIBILITY.md, whose last column says why a test fails; `--write`
writes the table.
"""

import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "COMPATIBILITY.md"
SHIM = ROOT / "tests" / "suites" / "shim.py"

# Seconds that a test may take. Those of names wait for half a second a step.
TEST_MAX = 240


def binary():
    given = os.environ.get("CORELANE")
    for path in [Path(given)] if given else [ROOT / "target" / kind / "corelane" for kind in ("release", "debug")]:
        if path.is_file():
            return path.resolve()
    sys.exit("there is no corelane: build it, or name it by CORELANE")


def wrapper(directory, name):
    """A program of this name that is the shim."""
    path = Path(directory) / name
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{SHIM}" {name} "$@"\n', encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def run(command, directory, environment):
    """The output of a test, or nothing if it takes too long; all that it started is ended."""
    with subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=TEST_MAX)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return None, process.communicate()[0]


def nginx(suite, names):
    """Each test of streams, with what came out."""
    with tempfile.TemporaryDirectory() as directory:
        program = wrapper(directory, "nginx")
        tests = sorted(path.name for path in suite.glob("stream_*.t") if not names or path.stem in names)
        for name in tests:
            environment = {"TEST_NGINX_BINARY": str(program), "CORELANE": str(binary()), "TMPDIR": directory}
            code, output = run(["prove", "-v", name], suite, environment)
            if os.environ.get("CORELANE_SUITE_LOGS"):
                Path(os.environ["CORELANE_SUITE_LOGS"], name + ".log").write_text(output, encoding="utf-8")
            skipped = re.search(r" skipped: (.*)$", output, re.MULTILINE)
            if skipped:
                yield name, "skipped: " + skipped[1].strip()
                continue
            good = len(re.findall(r"^ok \d+(?!.*# (?:SKIP|TODO|skip))", output, re.MULTILINE))
            bad = len(re.findall(r"^not ok \d+(?!.*# TODO)", output, re.MULTILINE))
            planned = re.search(r"^1\.\.(\d+)$", output, re.MULTILINE)
            missing = 0 if code is not None and planned else 1
            if code == 0 and not bad:
                yield name, f"passes: {good}"
            else:
                more = ", did not end" if code is None else ", broke off" if missing else ""
                yield name, f"fails: {bad} of {good + bad}{more}"


def is_tcp(path):
    """Whether a test of HAProxy's is of mode tcp alone."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return re.search(r"mode\s+tcp", text) and not re.search(
        r"mode\s+http|option\s+httplog|http-request|http-response|proto\s+h2|lua-load", text
    )


def without_words(text):
    """A test that waits for the same verdicts of checks, in whatever words they are logged: which server, and how it ended."""
    return re.sub(r'(expect ~ ".*?Health check for server \S+? (?:succeeded|failed)).*"$', r'\1"', text, flags=re.MULTILINE)


def haproxy(suite, names):
    with tempfile.TemporaryDirectory() as directory:
        program = wrapper(directory, "haproxy")
        tests = sorted(path for path in (suite / "reg-tests").rglob("*.vtc") if is_tcp(path) and (not names or path.stem in names))
        for path in tests:
            environment = {"HAPROXY_PROGRAM": str(program), "CORELANE": str(binary()), "TMPDIR": directory}
            options = ["varnishtest", "-t", "10", "-D", f"testdir={path.parent}"]
            code, output = run([*options, str(path)], path.parent, environment)
            name = str(path.relative_to(suite / "reg-tests"))
            result = "passes"
            whole = path.read_text(encoding="utf-8", errors="replace")
            if code not in (0, 77) and (cut := without_words(whole)) != whole:
                copy = Path(directory, path.name)
                copy.write_text(cut, encoding="utf-8")
                code, output = run([*options, str(copy)], path.parent, environment)
                result = "passes but for HAProxy's words"
            if os.environ.get("CORELANE_SUITE_LOGS"):
                Path(os.environ["CORELANE_SUITE_LOGS"], name.replace("/", "_") + ".log").write_text(output, encoding="utf-8")
            if code == 0:
                yield name, result
            elif code == 77:
                yield name, "skipped: the suite asks for another program"
            else:
                yield name, "fails"


def rows(document, suite):
    """The rows of a suite's table: what came out, and why."""
    found = {}
    part = document.split(f"<!-- {suite} -->", 1)[-1].split("<!-- end -->", 1)[0]
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 3:
            found[cells[0].strip("`")] = (cells[1], cells[2])
    return found


def main():
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    suites = {
        "nginx": (nginx, "CORELANE_NGINX_TESTS"),
        "haproxy": (haproxy, "CORELANE_HAPROXY"),
    }
    chosen = [name for name in suites if name in arguments] or list(suites)
    names = {argument for argument in arguments if argument not in suites}
    document = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
    differ = 0
    for suite in chosen:
        tests, variable = suites[suite]
        path = os.environ.get(variable)
        if not path:
            print(f"{suite}: skipped, as {variable} names no checkout")
            continue
        known = rows(document, suite)
        lines = []
        for name, result in tests(Path(path).resolve(), names):
            before, why = known.get(name, ("", ""))
            is_new = before != result
            differ += is_new
            print(f"{name}: {result}" + (f" (the table says: {before or 'nothing'})" if is_new else ""), flush=True)
            lines.append(f"| `{name}` | {result} | {why} |")
        if "--write" in sys.argv and not names:
            table = "\n".join(["", "| test | result | why |", "|---|---|---|", *lines, ""])
            before, rest = document.split(f"<!-- {suite} -->", 1)
            after = rest.split("<!-- end -->", 1)[1]
            document = f"{before}<!-- {suite} -->\n{table}\n<!-- end -->{after}"
            DOCUMENT.write_text(document, encoding="utf-8")
    sys.exit(1 if differ and "--write" not in sys.argv else 0)


if __name__ == "__main__":
    main()
