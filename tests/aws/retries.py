"""Beliefs about Lambda's retries. The function of the stack always fails, and tells a queue about each attempt."""

import json

from beliefs import NotTried, agree, wait_until

EVENT = {"Records": [{"sent": "as it is"}]}


def invoke(aws):
    aws.functions.invoke(
        FunctionName=aws.outputs["Function"], InvocationType="Event", Payload=json.dumps(EVENT).encode()
    )


def try_all(results, aws):
    results.try_all(
        [
            retries_are_two,
            retries_keep_the_request_id,
            retries_after_one_and_two_minutes,
            failure_queue_keeps_the_event,
            failure_destination_has_the_event,
        ],
        Failure(aws),
    )


class Failure:
    """What the queues have heard of an event whose attempts all failed."""

    def __init__(self, aws):
        self.attempts, self.failed_events, self.results = [], [], []
        wait_until(420 if aws.is_real else 15, lambda: self.receive(aws))
        self.attempts.sort(key=lambda attempt: attempt["time"])

    def receive(self, aws):
        self.attempts += map(json.loads, aws.receive("Attempts"))
        self.failed_events += map(json.loads, aws.receive("FailedEvents"))
        self.results += map(json.loads, aws.receive("Results"))
        return self.failed_events and self.results


def retries_are_two(failure):
    agree("attempts", len(failure.attempts), 3)


def retries_keep_the_request_id(failure):
    if not failure.attempts:
        raise NotTried("there was no attempt")
    agree("request ids", len({attempt["request"] for attempt in failure.attempts}), 1)


def retries_after_one_and_two_minutes(failure):
    times = [attempt["time"] for attempt in failure.attempts]
    pauses = [round(after - before) for before, after in zip(times, times[1:])]
    are_right = len(pauses) == 2 and 50 <= pauses[0] <= 150 and 100 <= pauses[1] <= 300
    agree(f"whether pauses of {pauses} s are right", are_right, True)
    return f"pauses of {pauses} s"


def failure_queue_keeps_the_event(failure):
    agree("messages in the queue", failure.failed_events, [EVENT])


def failure_destination_has_the_event(failure):
    found = [(result["requestContext"]["condition"], result["requestPayload"]) for result in failure.results]
    agree("records", found, [("RetriesExhausted", EVENT)])
