"""Small pictures for what a hop is: 24 by 24 units, drawn with strokes in the current colour."""

from entourage.report.markup import Markup, tag

_SHAPES = {
    "router": "M12 3a9 9 0 1 0 .01 0M12 11V5.5m-2.2 2L12 5.3l2.2 2.2M12 13v5.5m-2.2-2 2.2 2.2 2.2-2.2"
    "M4.8 12H10m-2-2.2 2.2 2.2L8 14.2M19.2 12H14m2-2.2L13.8 12l2.2 2.2",
    "firewall": "M3 4.5h18v15H3zM3 9.5h18M3 14.5h18M9 4.5v5M16 4.5v5"
    "M12.5 9.5v5M6.5 9.5v5M18.5 9.5v5M9 14.5v5M16 14.5v5",
    "load-balancer": "M3 12h6M9 12l9-7M9 12h11M9 12l9 7"
    "M15 4.6l3.4-.2-.9 3.3M17.4 9.4 20 12l-2.6 2.6M15 19.4l3.4.2-.9-3.3"
    "M3 12m-1 0a1 1 0 1 0 2 0 1 1 0 1 0-2 0",
    "server": "M4 3.5h16v7H4zM4 13.5h16v7H4zM7.5 7h.01M7.5 17h.01M11 7h6M11 17h6",
    "edge": "M4 8c0-5 16-5 16 0v8c0 5-16 5-16 0zM4 8c0 5 16 5 16 0M8.5 15.5h7m-2-2 2 2-2 2",
    "provider": "M7 19h10a4.5 4.5 0 0 0 .7-8.9A6 6 0 0 0 6.2 9 5 5 0 0 0 7 19z",
    "users": "M8.5 11a3.5 3.5 0 1 0-.01 0M2 20c0-8 13-8 13 0zM16.5 11.5a2.8 2.8 0 1 0-1.5-5M17 14c3 .2 5 2.2 5 6h-4.5",
}


def icon(kind: str, *, x: float, y: float, size: float = 24.0) -> Markup:
    """The icon of a hop kind or role with its upper left corner at (x, y)."""
    shape = _SHAPES.get(kind, _SHAPES["server"])
    place = f"translate({x:.1f} {y:.1f}) scale({size / 24:.3f})"
    return tag("path", d=shape, class_="icon", transform=place)
