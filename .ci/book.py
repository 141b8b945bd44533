"""A preprocessor of mdbook: pages that stand outside of docs/, and links to files that are no pages.

`{{#include ../NAME.md}}` brings a page of the repository, with its links as they are from docs/. A link to a file that is no part of
the book becomes the file's path: the book is read where the repository is not.
"""

import json
import os
import re
import sys

# A whole page; other includes, and those of other files, are mdbook's.
INCLUDE = re.compile(r"\{\{#include ([\w./-]+\.md)\}\}")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def outside_fences(text, change):
    """`text` with `change` made where no code stands."""
    parts = re.split(r"(?ms)(^```.*?^```[ ]*$)", text)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


def rebased(text, folder):
    """Links of a page in `folder`, as they are from the page that includes it."""

    def one(match):
        mark, words, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        return f"{mark}[{words}]({os.path.normpath(os.path.join(folder, target))})"

    return outside_fences(text, lambda part: LINK.sub(one, part))


class Book:
    """The book in the folder `root`, whose chapters have these paths."""

    def __init__(self, root, chapters):
        self.root = root
        self.pages = {chapter["path"] for chapter in chapters}
        # The page of the book for a page of the repository.
        self.included = {}
        for chapter in chapters:
            for name in INCLUDE.findall(chapter["content"]):
                target = os.path.normpath(os.path.join(os.path.dirname(chapter["path"]), name))
                self.included[target] = chapter["path"]

    def chapter(self, chapter):
        """The text of a chapter as mdbook is to have it."""
        folder = os.path.dirname(chapter["path"])

        def include(match):
            path = os.path.normpath(os.path.join(self.root, folder, match[1]))
            with open(path, encoding="utf-8") as file:
                return rebased(file.read(), os.path.dirname(match[1]))

        def link(match):
            mark, words, target = match.groups()
            if re.match(r"[a-z]+:|#", target):
                return match[0]
            path, _, anchor = target.partition("#")
            path = os.path.relpath(os.path.join(self.root, folder, path), self.root)
            anchor = anchor and "#" + anchor
            if path in self.included:
                return f"{mark}[{words}]({os.path.relpath(self.included[path], folder or '.')}{anchor})"
            if not path.startswith("..") and (path in self.pages or not path.endswith(".md")):
                return f"{mark}[{words}]({os.path.relpath(path, folder or '.')}{anchor})"
            path = os.path.relpath(os.path.join(self.root, path), os.path.dirname(self.root))
            return f"`{path}`" if words.strip("`") in path else f"{words} (`{path}`)"

        text = INCLUDE.sub(include, chapter["content"])
        return outside_fences(text, lambda part: LINK.sub(link, part))


def chapters(items):
    for item in items:
        if isinstance(item, dict) and "Chapter" in item:
            if item["Chapter"]["path"]:
                yield item["Chapter"]
            yield from chapters(item["Chapter"]["sub_items"])


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    all_chapters = list(chapters(book["items"]))
    its = Book(context["root"], all_chapters)
    for chapter in all_chapters:
        chapter["content"] = its.chapter(chapter)
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
