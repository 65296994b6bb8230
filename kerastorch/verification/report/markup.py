"""HTML and SVG as a tree, so that whatever a file calls its layers is escaped in one place."""

from __future__ import annotations

from typing import TypeAlias
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

LONG = 120  # letters of a name that a sentence has room for

Content: TypeAlias = "Element | str | None"


def element(tag: str, *content: Content, **attributes: object) -> Element:
    """An element with its content and attributes, both left out where they are None.

    An underscore in an attribute's name stands for a hyphen, one at its end for nothing: `class_`.
    """
    made = Element(
        tag,
        {
            name.rstrip("_").replace("_", "-"): str(value)
            for name, value in attributes.items()
            if value is not None
        },
    )
    for part in content:
        if isinstance(part, Element):
            made.append(part)
        elif part is not None:
            _append_text(made, part)
    return made


def _append_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def foreign(text: str) -> Element:
    """Text from outside, whose writing direction `bdi` keeps from what is around it."""
    return element("bdi", text)


def name(text: str) -> Element:
    """The name of a layer or a file."""
    return element("bdi", text, class_="name")


def short_name(text: str) -> Element:
    """A name within a sentence: of a very long one its ends."""
    return name(text if len(text) <= LONG else f"{text[: LONG // 2]}…{text[-LONG // 2 :]}")


def serialize(page: Element) -> bytes:
    text = ElementTree.tostring(page, encoding="unicode", method="html")
    # HDF5 lets a name hold half of a surrogate pair, which UTF-8 has no bytes for.
    return ("<!doctype html>\n" + text + "\n").encode("utf-8", errors="backslashreplace")
