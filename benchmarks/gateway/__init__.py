"""Tundish as a gateway, beside other gateways, under the same load on the same machine."""
