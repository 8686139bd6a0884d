"""A second opinion on a deployment: another client, another zip reader, another diff.

Reads one request as JSON from stdin and prints one answer as JSON. If it finds a wrong state, it exits with 1 and a
sentence on stderr. It shares nothing with the Rust code: it derives the expected contents of the buckets and of the
invalidations from the two archives alone.
"""

import json
import sys
import urllib.parse
import zipfile
from datetime import datetime, timedelta, timezone

import boto3

STAGING, LIVE, TABLE = "staging", "live", "ledger"
ORIGIN_PATH = "/site"
PREFIX = "site/"
# An object in the live bucket, outside the prefix. No deployment may touch it.
FOREIGN = {"other/untouched.txt": b"not the site's"}

CACHE_CONTROL = "public, max-age=0, s-maxage=86400, must-revalidate"
# Media types from the IANA registry. Each value is a set, for types with two common spellings.
MEDIA_TYPES = {
    "css": {"text/css"},
    "gif": {"image/gif"},
    "html": {"text/html"},
    "js": {"text/javascript"},
    "json": {"application/json"},
    "png": {"image/png"},
    "svg": {"image/svg+xml"},
    "ttf": {"font/ttf"},
    "txt": {"text/plain"},
    "wasm": {"application/wasm"},
    "webmanifest": {"application/manifest+json"},
    "woff": {"font/woff"},
    "woff2": {"font/woff2"},
}


class Wrong(Exception):
    """The state differs from what the archives ask for."""


class Judge:
    """Checks one site: the named one, or by default the one that `create` makes."""

    def __init__(self, endpoint, live=LIVE, prefix=PREFIX, table=TABLE, site="judged", foreign=FOREIGN):
        self.live, self.prefix, self.table, self.site = live, prefix, table, site
        self.foreign = foreign
        self.cache_control = CACHE_CONTROL

        def client(service):
            return boto3.client(
                service,
                endpoint_url=endpoint,
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )

        self.s3 = client("s3")
        self.dynamodb = client("dynamodb")
        self.cloudfront = client("cloudfront")

    def create(self):
        """Creates the resources of a stack; returns the function's environment."""
        for bucket in (STAGING, LIVE):
            self.s3.create_bucket(Bucket=bucket)
        self.s3.put_bucket_versioning(
            Bucket=STAGING, VersioningConfiguration={"Status": "Enabled"}
        )
        for key, body in FOREIGN.items():
            self.s3.put_object(Bucket=LIVE, Key=key, Body=body)
        self.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": "site", "AttributeType": "S"},
                {"AttributeName": "item", "AttributeType": "S"},
            ],
            KeySchema=[
                {"AttributeName": "site", "KeyType": "HASH"},
                {"AttributeName": "item", "KeyType": "RANGE"},
            ],
        )
        self.dynamodb.update_time_to_live(
            TableName=TABLE,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"},
        )
        distribution = self.cloudfront.create_distribution(
            DistributionConfig={
                "CallerReference": "judge",
                "Comment": "",
                "Enabled": True,
                "DefaultRootObject": "index.html",
                "Origins": {
                    "Quantity": 1,
                    "Items": [
                        {
                            "Id": "live",
                            "DomainName": f"{LIVE}.s3.us-east-1.amazonaws.com",
                            "OriginPath": ORIGIN_PATH,
                            "S3OriginConfig": {"OriginAccessIdentity": ""},
                        }
                    ],
                },
                "DefaultCacheBehavior": {
                    "TargetOriginId": "live",
                    "ViewerProtocolPolicy": "redirect-to-https",
                    # Managed-CachingOptimized
                    "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
                },
            }
        )["Distribution"]["Id"]
        return {
            "STAGING_BUCKET": STAGING,
            "LIVE_BUCKET": LIVE,
            "LIVE_PREFIX": PREFIX,
            "TABLE_NAME": TABLE,
            "DISTRIBUTION_IDS": distribution,
            "SITE": self.site,
        }

    def upload(self, archive, key, age_seconds):
        """Uploads an archive; returns the event that S3 would send for it."""
        with open(archive, "rb") as body:
            put = self.s3.put_object(Bucket=STAGING, Key=key, Body=body)
        size = self.s3.head_object(Bucket=STAGING, Key=key)["ContentLength"]
        time = datetime.now(timezone.utc) - timedelta(seconds=age_seconds)
        return {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventSource": "aws:s3",
                    "awsRegion": "us-east-1",
                    "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.")
                    + f"{time.microsecond // 1000:03}Z",
                    "eventName": "ObjectCreated:Put",
                    "s3": {
                        "s3SchemaVersion": "1.0",
                        "bucket": {"name": STAGING, "arn": f"arn:aws:s3:::{STAGING}"},
                        "object": {
                            "key": urllib.parse.quote_plus(key, safe="/"),
                            "size": size,
                            "eTag": put["ETag"].strip('"'),
                            "versionId": put["VersionId"],
                            "sequencer": f"{int(time.timestamp() * 1000):018X}",
                        },
                    },
                }
            ]
        }

    def check(self, before, after, distribution, live, deployments, seen):
        """Checks the state after a run that brought the site from `before` to `after`.

        `live` is the live deployment, `deployments` are all deployments so far, and `seen` are the ids of the
        invalidations that earlier checks have covered. Returns the ids of the new ones.
        """
        old, new = entries(before), entries(after)
        self.check_bucket(new)
        self.check_table(live, deployments)
        return self.check_invalidations(distribution, live, stale(old, new), seen)

    def check_bucket(self, site):
        wanted = {self.prefix + name: body for name, body in site.items()} | self.foreign
        found = {
            item["Key"]
            for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.live)
            for item in page.get("Contents", [])
        }
        agree("keys of the live bucket", found, set(wanted))
        for key, body in wanted.items():
            answer = self.s3.get_object(Bucket=self.live, Key=key)
            if answer["Body"].read() != body:
                raise Wrong(f"{key}: the bytes differ from the archive's")
            if key in self.foreign:
                continue
            media_type, _, parameters = answer["ContentType"].partition(";")
            if media_type not in MEDIA_TYPES[key.rsplit(".", 1)[-1]]:
                raise Wrong(f"{key}: its Content-Type is {answer['ContentType']}")
            if media_type.startswith("text/") and parameters.strip() != "charset=utf-8":
                raise Wrong(f"{key}: text without a charset: {answer['ContentType']}")
            agree(f"Cache-Control of {key}", answer.get("CacheControl"), self.cache_control)

    def check_table(self, live, deployments):
        items = {
            item["item"]["S"]: item
            for page in self.dynamodb.get_paginator("query").paginate(
                TableName=self.table,
                ConsistentRead=True,
                KeyConditionExpression="site = :site",
                ExpressionAttributeValues={":site": {"S": self.site}},
            )
            for item in page["Items"]
        }
        # Each run has an item, whose key has its number.
        runs = {name: items[name]["deployment"]["S"] for name in items if name.startswith("run#")}
        agree("deployments that have run", set(runs.values()), set(deployments))
        agree("numbers of the runs", sorted(runs), [f"run#{number:012}" for number in range(1, len(runs) + 1)])
        # No owed batches: CloudFront has accepted them all once a run succeeds.
        agree(
            "items of the table",
            set(items) - set(runs),
            {"head"}
            | {f"deployment#{deployment}" for deployment in deployments}
            | {f"version#{deployment.split('-')[1]}" for deployment in deployments},
        )
        head = items["head"]
        agree("live deployment in head", head["live"]["M"]["deployment"]["S"], live)
        # The lease is released, no run is unfinished, and a head never expires.
        agree("left in head", {"lease", "unfinished", "expires_at"} & set(head), set())
        for deployment in deployments:
            if "expires_at" in items[f"deployment#{deployment}"]:
                raise Wrong(f"the record of {deployment} expires, although it has been live")

    def check_invalidations(self, distribution, live, wanted, seen):
        ids = [
            item["Id"]
            for page in self.cloudfront.get_paginator("list_invalidations").paginate(
                DistributionId=distribution
            )
            for item in page["InvalidationList"].get("Items", [])
        ]
        # The listing has no references and paths, so read each invalidation.
        batches = {
            id: self.cloudfront.get_invalidation(DistributionId=distribution, Id=id)[
                "Invalidation"
            ]["InvalidationBatch"]
            for id in ids
        }
        references = [batch["CallerReference"] for batch in batches.values()]
        agree("count of caller references", len(set(references)), len(references))
        fresh = {id: batch for id, batch in batches.items() if id not in seen}
        items = [item for batch in fresh.values() for item in batch["Paths"]["Items"]]
        agree("invalidated items", set(items), wanted)
        agree("count of invalidated items", len(items), len(wanted))
        for batch in fresh.values():
            if not batch["CallerReference"].startswith(live + "."):
                raise Wrong(f"{batch['CallerReference']} is not a reference of {live}")
        return list(fresh)


def entries(archive):
    """Returns the files of an archive by name; empty for no archive."""
    if archive is None:
        return {}
    with zipfile.ZipFile(archive) as opened:
        return {
            info.filename: opened.read(info)
            for info in opened.infolist()
            if not info.is_dir()
        }


def stale(old, new):
    """Returns the viewer paths whose object changed or left. New objects were never cached, except that nobody knows
    what the distribution has cached before the first deployment."""
    if not old:
        return {"/*"}
    paths = set()
    for name in old:
        if new.get(name) == old[name]:
            continue
        paths.add("/" + name)
        # Behind S3 itself, an index document answers for no folder but the root.
        if name == "index.html":
            paths.add("/")
    # Encoded by RFC 1738, as CloudFront requires. S3 reads both `%20` and `+` as a space, so a viewer may have asked
    # for either. The samples have no names with `~` or `+`, which have more than one spelling.
    quoted = {urllib.parse.quote(path, safe="/$-_.!*(),;:@=&?") for path in paths}
    return quoted | {path.replace("%20", "+") for path in quoted}


def agree(what, found, wanted):
    if found == wanted:
        return
    if isinstance(found, set):
        raise Wrong(f"{what}: unexpected {sorted(found - wanted)}, missing {sorted(wanted - found)}")
    raise Wrong(f"{what}: found {found!r}, expected {wanted!r}")


def main():
    request = json.load(sys.stdin)
    judge = Judge(request.pop("endpoint"))
    act = {"create": judge.create, "upload": judge.upload, "check": judge.check}
    try:
        json.dump(act[request.pop("act")](**request), sys.stdout)
    except Wrong as wrong:
        sys.exit(f"judge: {wrong}")


if __name__ == "__main__":
    main()
