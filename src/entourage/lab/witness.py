"""The third place, where the witness is, and its links to the provider's routers near the sites."""

from ipaddress import IPv4Interface, IPv4Network

from entourage.model.ids import SiteId

NODE = "witness"
POP_DEVICE = "witness"  # a provider router's end of its link to the witness
RTT = 10.0  # ms, of each link
_NETWORKS = IPv4Network("100.72.0.0/16")


def link(site: SiteId) -> str:
    """The relay's link between the witness and the provider's router near a site."""
    return f"witness:{site}"


def device(number: int) -> str:
    """The witness's end of the link to the site of that number."""
    return f"pop-{number}"


def network(number: int) -> IPv4Network:
    """The network of the link to the site of that number."""
    return IPv4Network((int(_NETWORKS.network_address) + 256 * number, 30))


def pop_end(number: int) -> IPv4Interface:
    """The provider router's address on that link."""
    return IPv4Interface((network(number)[1], 30))


def witness_end(number: int) -> IPv4Interface:
    """The witness's address on that link: there the site's agent reaches it."""
    return IPv4Interface((network(number)[2], 30))
