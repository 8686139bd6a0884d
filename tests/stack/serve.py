"""Starts MiniStack with HTTP/1.1 only, and with the aliases of its distributions.

Over TLS its server also offers HTTP/2, where an answer is sometimes lost when many requests share one connection
(hypercorn 0.18.0). It shows a distribution under its own domain name alone, and viewers of a preview come by an alias.
"""

from fnmatch import fnmatchcase
from xml.etree import ElementTree

from hypercorn.config import Config

Config.alpn_protocols = ["http/1.1"]

from ministack import app  # noqa: E402
from ministack.services import cloudfront  # noqa: E402

label_of_own_domain = app._parse_cloudfront_dataplane_host


def label_of(host):
    """Returns the first part of the domain name of the distribution that answers for a host."""
    name = host.split(":")[0].lower()
    for distribution in cloudfront._distributions.values():
        config = ElementTree.fromstring(distribution["config_xml"])
        aliases = config.iterfind("{*}Aliases/{*}Items/{*}CNAME")
        # A wildcard stands for one label (CloudFront Developer Guide, "Use wildcards in alternate domain names").
        if any(fnmatchcase(name, alias.text) and name.count(".") == alias.text.count(".") for alias in aliases):
            return distribution["DomainName"].split(".")[0].lower()
    return label_of_own_domain(host)


app._parse_cloudfront_dataplane_host = label_of
app.main()
