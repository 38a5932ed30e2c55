"""From a notebook to the report: pages, records, running what is out of date, report.md, PDF and HTML."""

from hw2lib.report.page import Page

__all__ = ["Page"]
