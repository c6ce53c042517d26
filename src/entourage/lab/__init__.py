"""Two sites on one machine: namespaces, links, routers, guests; and a lab as drivers and commands see it."""
