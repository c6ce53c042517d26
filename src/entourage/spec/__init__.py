"""YAML specs of sites, services, catalogues and licences: read, or refused with every problem at once."""

from entourage.spec.files import (
    load_infrastructure,
    load_licences,
    load_service,
    parse_catalogue,
    parse_infrastructure,
    parse_licences,
    parse_service,
    read_text,
)
from entourage.spec.problems import Problem, SpecError

__all__ = [
    "Problem",
    "SpecError",
    "load_infrastructure",
    "load_licences",
    "load_service",
    "parse_catalogue",
    "parse_infrastructure",
    "parse_licences",
    "parse_service",
    "read_text",
]
