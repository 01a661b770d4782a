"""One self-contained HTML page about a run."""

from wherefrom.report._data import ReportData
from wherefrom.report._from_run import report_run
from wherefrom.report._page import render_report, write_report

__all__ = ["ReportData", "render_report", "report_run", "write_report"]
