"""Starts MiniStack, over HTTP/1.1 alone.

Its server also offers HTTP/2 under TLS, and there an answer sometimes never comes when many requests are under way
on one connection (hypercorn 0.18.0).
"""

from hypercorn.config import Config

Config.alpn_protocols = ["http/1.1"]

from ministack.app import main  # noqa: E402

main()
