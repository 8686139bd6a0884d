"""Beliefs about the events of uploads. S3 and EventBridge tell a queue each about two uploads of one key."""

import json
from datetime import datetime
from urllib.parse import unquote_plus

from beliefs import NotTried, agree, wait_until

KEY = "uploads/é a+b.zip"


def try_all(results, aws):
    uploads = Uploads(aws)
    results.try_all(
        [
            event_names_the_version,
            eventbridge_names_the_version,
            event_key_is_form_encoded,
            event_etag_has_no_quotes,
            event_sequencer_ascends,
            event_time_is_the_upload,
            eventbridge_key_is_plain,
            eventbridge_whole_seconds,
            both_events_name_one_upload,
        ],
        uploads,
    )


class Uploads:
    """Two uploads of one key, and what was told about them, by version."""

    def __init__(self, aws):
        self.by_s3, self.by_eventbridge = {}, {}
        self.answers = [aws.s3.put_object(Bucket=aws.staging, Key=KEY, Body=body) for body in (b"one", b"two")]
        self.modified_at = aws.s3.head_object(Bucket=aws.staging, Key=KEY)["LastModified"]
        wait_until(180 if aws.is_real else 5, lambda: self.receive(aws))

    def receive(self, aws):
        """Reads both queues. Returns whether both uploads were told by both."""
        for body in map(json.loads, aws.receive("Notifications")):
            for record in body.get("Records", []):
                self.by_s3[record["s3"]["object"].get("versionId")] = record
        for body in map(json.loads, aws.receive("EventBridgeEvents")):
            self.by_eventbridge[body["detail"]["object"].get("version-id")] = body
        return len(self.of(self.by_s3)) == len(self.of(self.by_eventbridge)) == 2

    def of(self, events):
        """Returns the events of the two uploads, in the order of the uploads."""
        return [events[answer["VersionId"]] for answer in self.answers if answer["VersionId"] in events]

    def told_by_s3(self):
        return self.both(self.of(self.by_s3))

    def told_by_eventbridge(self):
        return self.both(self.of(self.by_eventbridge))

    def both(self, events):
        if len(events) != 2:
            raise NotTried("there are no events of both uploads")
        return events


def event_names_the_version(uploads):
    agree("events that name the versions", len(uploads.of(uploads.by_s3)), 2)


def eventbridge_names_the_version(uploads):
    agree("events that name the versions", len(uploads.of(uploads.by_eventbridge)), 2)


def event_key_is_form_encoded(uploads):
    key = uploads.told_by_s3()[0]["s3"]["object"]["key"]
    agree("the decoded key", unquote_plus(key), KEY)
    return key


def event_etag_has_no_quotes(uploads):
    etags = [record["s3"]["object"]["eTag"] for record in uploads.told_by_s3()]
    agree("ETags", etags, [answer["ETag"].strip('"') for answer in uploads.answers])


def event_sequencer_ascends(uploads):
    first, second = (record["s3"]["object"]["sequencer"] for record in uploads.told_by_s3())
    agree(f"whether {first} < {second}", first < second, True)


def event_time_is_the_upload(uploads):
    text = uploads.told_by_s3()[1]["eventTime"]
    seconds = (datetime.fromisoformat(text.replace("Z", "+00:00")) - uploads.modified_at).total_seconds()
    agree(f"whether {seconds} s after Last-Modified is close", -2 < seconds < 5, True)


def eventbridge_key_is_plain(uploads):
    agree("key", uploads.told_by_eventbridge()[0]["detail"]["object"]["key"], KEY)


def eventbridge_whole_seconds(uploads):
    time = uploads.told_by_eventbridge()[0]["time"]
    agree(f"the length of {time}", len(time), len("2026-11-22T10:15:00Z"))


def both_events_name_one_upload(uploads):
    for record, event in zip(uploads.told_by_s3(), uploads.told_by_eventbridge()):
        one, other = record["s3"]["object"], event["detail"]["object"]
        agree("version", other["version-id"], one["versionId"])
        agree("ETag", other["etag"], one["eTag"])
        agree("sequencer", other["sequencer"], one["sequencer"])
