"""Build the web site: ``python -m site_build -o build/site``. See __main__.py."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


class SiteError(Exception):
    """What stops the build; its message is one line for the person who builds."""
