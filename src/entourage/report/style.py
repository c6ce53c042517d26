"""The stylesheet of pages and pictures, read from the file beside this one."""

from importlib.resources import files

STYLE = files("entourage.report").joinpath("report.css").read_text(encoding="utf-8")
