"""Starts MiniStack with HTTP/1.1 only.

Over TLS its server also offers HTTP/2, where an answer is sometimes lost when many requests share one connection
(hypercorn 0.18.0).
"""

from hypercorn.config import Config

Config.alpn_protocols = ["http/1.1"]

from ministack.app import main  # noqa: E402

main()
