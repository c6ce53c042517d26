"""The Protocols that drivers fulfil, and the conformance kit that checks them."""
