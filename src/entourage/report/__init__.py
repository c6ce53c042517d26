"""Reports: HTML pages and terminal tables, made from the documents of `entourage.report.schema` and nothing else."""

from entourage.report.page import render_demo, render_move, render_noisy
from entourage.report.picture import Details, path_picture
from entourage.report.schema import DEMO_SCHEMA, MOVE_SCHEMA, validate_demo_report, validate_move_report
from entourage.report.terminal import demo_table, move_table, path_strip, path_text

__all__ = [
    "DEMO_SCHEMA",
    "MOVE_SCHEMA",
    "Details",
    "demo_table",
    "move_table",
    "path_picture",
    "path_strip",
    "path_text",
    "render_demo",
    "render_move",
    "render_noisy",
    "validate_demo_report",
    "validate_move_report",
]
