"""Beliefs about what CloudFront caches and evicts, seen from the one edge location that answers here.

All objects are written, fetched until they come from the cache, written again and invalidated together. Then each
belief looks at its own object, which tells its version in its metadata.
"""

import http.client
import json
import os
import threading
from collections import namedtuple
from urllib.parse import urlsplit

from beliefs import NOT_TRIED, NotTried, agree, wait_until
from botocore.exceptions import ClientError
from cloudfront import invalidate

TAG = "beliefs"
Case = namedtuple("Case", ["belief", "key", "url", "items"])
CASES = [
    Case("evicts-a-path", "plain.html", "/plain.html", ["/plain.html"]),
    Case("evicts-by-wildcard", "wild/deep/a.html", "/wild/deep/a.html", ["/wild*"]),
    Case("evicts-non-ascii", "café.html", "/caf%C3%A9.html", ["/caf%C3%A9.html"]),
    Case("evicts-lower-case-escapes", "thé.html", "/th%c3%a9.html", ["/th%C3%A9.html"]),
    Case("evicts-needless-escapes", "letter.html", "/%6Cetter.html", ["/letter.html"]),
    Case("evicts-a-space", "a b.html", "/a%20b.html", ["/a%20b.html", "/a+b.html"]),
    Case("evicts-a-plus-for-a-space", "c d.html", "/c+d.html", ["/c%20d.html", "/c+d.html"]),
    Case("evicts-a-plus", "e+f.html", "/e%2Bf.html", ["/e%2Bf.html", "/e+f.html"]),
    Case("evicts-brackets", "g[1].html", "/g[1].html", ["/g%5B1%5D.html"]),
    Case("evicts-braces", "h{1}.html", "/h%7B1%7D.html", ["/h%7B1%7D.html"]),
    Case("evicts-safe-characters", "i$-_.!(),;:@=&.html", "/i$-_.!(),;:@=&.html", ["/i$-_.!(),;:@=&.html"]),
    Case("evicts-a-tilde-by-wildcard", "rt~main.js", "/rt~main.js", ["/rt*"]),
    Case("evicts-query-strings", "query/a.html", "/query/a.html?x=1", ["/query/a.html?*"]),
    Case("evicts-without-query-strings", "j.html", "/j.html?x=1", ["/j.html"]),
    Case("evicts-rewritten-paths", "both/index.html", "/both/", ["/both/", "/both/index.html"]),
    Case("evicts-the-default-root", "home.html", "/", ["/", "/home.html"]),
    Case("evicts-by-tag", "tagged.html", "/tagged.html", [f"#{TAG}"]),
    Case("evicts-compressed-copies", "gzip.html", "/gzip.html", ["/gzip.html"]),
    Case("evicts-header-changes", "type.html", "/type.html", ["/type.html"]),
    Case("evicts-cached-errors", "late.html", "/late.html", ["/late.html"]),
]
# The distribution's function rewrites these URLs. Each case sends only one of the two items that a deployment sends.
BY_ONE_ITEM = [
    Case("the viewer's path", "viewer/index.html", "/viewer/", ["/viewer/"]),
    Case("the rewritten path", "origin/index.html", "/origin/", ["/origin/index.html"]),
]
EITHER_ITEM = "evicts-by-either-path"
IN_FLIGHT = "evicts-a-fetch-in-flight"


def try_all(results, aws):
    # Another edge takes the place of CloudFront's, to try this file itself.
    edge = os.environ.get("DROPSHIP_EDGE")
    if not aws.is_real and not edge:
        for belief in [case.belief for case in CASES] + [EITHER_ITEM, IN_FLIGHT]:
            results.note(belief, NOT_TRIED, "MiniStack has no cache")
        return
    edge = Edge(edge or f"https://{aws.outputs['Domain']}")
    cases = CASES + BY_ONE_ITEM
    for case in cases:
        if case.belief != "evicts-cached-errors":
            write(aws, case, "v1")
    cached = {case.belief for case in cases if wait_until(30, lambda: edge.has_cached(case))}
    for case in cases:
        write(aws, case, "v2")
    evict(aws, [item for case in cases for item in case.items])
    for case in CASES:
        results.try_one(case.belief, is_evicted, edge, case, case.belief in cached)
    results.try_one(EITHER_ITEM, either_item_evicts, edge, cached)
    results.try_one(IN_FLIGHT, evicts_a_fetch_in_flight, aws, edge)


class Answer:
    def __init__(self, answer):
        self.status, self.headers = answer.status, answer.headers
        answer.read()

    def is_hit(self):
        return self.headers.get("x-cache", "").lower().startswith(("hit", "refreshhit"))

    def version(self):
        return self.headers.get("x-amz-meta-version")


class Edge:
    def __init__(self, address):
        self.address = urlsplit(address)

    def get(self, url, encoding="identity"):
        """Requests exactly this path: nothing encodes or normalises it on the way."""
        is_tls = self.address.scheme == "https"
        connect = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        connection = connect(self.address.netloc, timeout=100)
        try:
            connection.putrequest("GET", url, skip_accept_encoding=True)
            connection.putheader("Accept-Encoding", encoding)
            connection.endheaders()
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def has_cached(self, case):
        """Fetches a case's URL, and returns whether it has come from the cache."""
        answers = [self.get(case.url, encoding) for encoding in encodings(case)]
        if case.belief == "evicts-cached-errors":
            # CloudFront does not call a cached error a hit, but it has an age.
            return answers[0].status == 403 and int(answers[0].headers.get("age", 0)) > 0
        return all(answer.is_hit() and answer.version() == "v1" for answer in answers)


def encodings(case):
    return ["identity", "gzip", "br"] if case.belief == "evicts-compressed-copies" else ["identity"]


def write(aws, case, version):
    """Writes a case's object. CloudFront compresses only what has 1,000 bytes or more."""
    headers, metadata = {"ContentType": "text/html"}, {"version": version}
    if case.belief == "evicts-by-tag":
        metadata["cache-tag"] = TAG
    if case.belief == "evicts-header-changes" and version == "v2":
        headers["ContentType"] = "application/xhtml+xml"
    aws.s3.put_object(
        Bucket=aws.live,
        Key=f"site/{case.key}",
        # Always the same bytes, so that CloudFront may learn the new headers from a 304.
        Body=b"The same bytes. " * 100,
        CacheControl="max-age=86400",
        Metadata=metadata,
        **headers,
    )


def evict(aws, items):
    """Sends all items, each wildcard in a batch of its own, and waits until CloudFront has completed them."""
    wildcards = [item for item in items if item.endswith("*")]
    batches = [[item for item in items if item not in wildcards], *([wildcard] for wildcard in wildcards)]
    for number, batch in enumerate(batches):
        complete(aws, offer(aws, f"evict-{number}", batch))


def offer(aws, reference, items):
    ids = []

    def is_accepted():
        try:
            ids.append(invalidate(aws, reference, *items))
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("TooManyInvalidationsInProgress", "Throttling"):
                raise
        return ids

    if not wait_until(600, is_accepted):
        raise AssertionError(f"CloudFront did not accept {items}")
    return ids[0]


def complete(aws, invalidation):
    waiter = aws.cloudfront.get_waiter("invalidation_completed")
    waiter.wait(DistributionId=aws.distribution, Id=invalidation, WaiterConfig={"Delay": 2, "MaxAttempts": 300})


def is_evicted(edge, case, was_cached):
    if not was_cached:
        raise NotTried("its first version never came from the cache")
    for encoding in encodings(case):
        answer = edge.get(case.url, encoding)
        agree(f"version ({encoding})", answer.version(), "v2")
    if case.belief == "evicts-header-changes":
        agree("Content-Type", answer.headers["content-type"], "application/xhtml+xml")


def either_item_evicts(edge, cached):
    """Tells which of the two items would do. It never fails, because a deployment sends both."""
    answers = {}
    for case in BY_ONE_ITEM:
        if case.belief not in cached:
            raise NotTried("a first version never came from the cache")
        answers[case.belief] = edge.get(case.url).version() == "v2"
    return ", ".join(f"{item}: {'evicts' if evicts else 'does not evict'}" for item, evicts in answers.items())


def evicts_a_fetch_in_flight(aws, edge):
    """The origin takes 45 seconds to answer. An invalidation that is completed meanwhile has to void the answer."""
    url, answers = "/slow/page", []
    fetch = threading.Thread(target=lambda: answers.append(edge.get(url)), daemon=True)
    fetch.start()
    if not wait_until(30, lambda: aws.receive("SlowRequests")):
        raise NotTried("the slow origin was not asked")
    complete(aws, offer(aws, "in-flight", [url]))
    if not fetch.is_alive():
        raise NotTried("the invalidation took longer than the fetch")
    fetch.join()
    if not answers or answers[0].status != 200:
        raise NotTried(f"the slow origin answered {[answer.status for answer in answers]}")
    if edge.get(url).is_hit():
        raise AssertionError("the edge has cached what it began to fetch before the invalidation")
    if not edge.get(url).is_hit():
        raise NotTried("this URL never comes from the cache")
