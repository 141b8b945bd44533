"""Finds links that lead nowhere: `links.py BOOK`, from the root of the repository.

Looks at every page that git knows, as it is read in the repository, and at every page of the built book. Links to other sites are not
followed.
"""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
CODE = re.compile(r"(?ms)^```.*?^```[ ]*$|^(?: {4}|\t)[^\n]*$|`[^`\n]*`")


def anchors_of(text):
    """The anchors of a page's headings."""
    found, seen = set(), {}
    for heading in HEADING.findall(re.sub(r"(?ms)^```.*?^```[ ]*$", "", text)):
        words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        anchor = re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", words))
        count = seen.get(anchor, 0)
        seen[anchor] = count + 1
        found.add(f"{anchor}-{count}" if count else anchor)
    return found | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


class Page(HTMLParser):
    """What a page of the book links to, and what can be linked to in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def wrong_links(path, links, anchors_of_path):
    """Each link of `path` that leads nowhere, and why."""
    for link in links:
        if re.match(r"[a-z]+:|//", link):
            continue
        target, _, anchor = link.partition("#")
        target = os.path.normpath(os.path.join(os.path.dirname(path), unquote(target))) if target else path
        if not os.path.exists(target):
            yield f"{path}: {link}: there is no {target}"
        elif anchor and os.path.isfile(target):
            anchors = anchors_of_path(target)
            if anchors is not None and unquote(anchor) not in anchors:
                yield f"{path}: {link}: {target} has no heading #{anchor}"


def remembered(function):
    known = {}

    def call(path):
        if path not in known:
            known[path] = function(path)
        return known[path]

    return call


def main():
    book = sys.argv[1]
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], check=True, capture_output=True, text=True)
    pages = [path for path in listed.stdout.split() if "/vendor/" not in path and path != "config/src/catalogue/reference.md" and os.path.exists(path)]
    in_page = remembered(lambda path: anchors_of(read(path)) if path.endswith(".md") else None)
    wrong = []
    for path in pages:
        wrong += wrong_links(path, LINK.findall(CODE.sub("", read(path))), in_page)
    html = remembered(lambda path: Page(read(path)) if path.endswith(".html") else None)
    built = [os.path.join(folder, name) for folder, _, names in os.walk(book) for name in names if name.endswith(".html")]
    if not built:
        sys.exit(f"{book} has no pages")
    # These show other pages at other places.
    for path in sorted(set(built) - {os.path.join(book, name) for name in ("404.html", "print.html", "toc.html")}):
        wrong += wrong_links(path, html(path).links, lambda target: html(target).anchors if html(target) else None)
    # A page that the book leaves out is read by nobody.
    summary = set(re.findall(r"\]\(([^)]+)\)", read("docs/SUMMARY.md")))
    for path in pages:
        if path.startswith("docs/") and path[5:] not in summary | {"SUMMARY.md"}:
            wrong.append(f"{path}: docs/SUMMARY.md doesn't name it")
    print("\n".join(wrong), f"{len(pages)} pages of the repository and {len(built)} of the book", sep="\n" if wrong else "")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
