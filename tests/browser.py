"""The browser of the report's tests; `python -m tests.browser` says whether there is one."""

import shutil
import sys
from contextlib import contextmanager

from playwright.sync_api import sync_playwright

COMMANDS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
# It runs also as root, and asks the network for nothing of its own.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_browser():
    return next(filter(None, map(shutil.which, COMMANDS)), None)


@contextmanager
def open_browser():
    path = find_browser()
    assert path, f"The report's tests need one of {', '.join(COMMANDS)}."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


if __name__ == "__main__":
    print(find_browser() or sys.exit(1))
