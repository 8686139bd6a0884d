"""Beliefs about CreateInvalidation that need no cache."""

from beliefs import agree, refused
from botocore.exceptions import ClientError


def try_all(results, aws):
    results.try_all(
        [
            caller_reference_repeats,
            caller_reference_with_other_items,
            caller_reference_of_128_characters,
            invalid_item_refuses_the_batch,
            tilde_is_refused,
            batch_of_100_items,
            quota_error_code,
            unknown_distribution_code,
        ],
        aws,
    )


def invalidate(aws, reference, *items, distribution=None):
    """Offers a batch and returns the id of the invalidation."""
    batch = {"CallerReference": reference, "Paths": {"Quantity": len(items), "Items": list(items)}}
    answer = aws.cloudfront.create_invalidation(
        DistributionId=distribution or aws.distribution, InvalidationBatch=batch
    )
    return answer["Invalidation"]["Id"]


def says_that_it_is_known(error):
    """Whether an error says that a reference was used before, in one of the two ways that `Cdn::offer` reads."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    return code == "InvalidationBatchAlreadyExists" or (
        code == "InvalidArgument" and "caller reference" in message.lower()
    )


def caller_reference_repeats(aws):
    first = invalidate(aws, "same", "/a", "/b")
    try:
        agree("the repeated invalidation", invalidate(aws, "same", "/a", "/b"), first)
        return "answered with the first invalidation"
    except ClientError as error:
        if not says_that_it_is_known(error):
            raise
        return f"refused: {error}"


def caller_reference_with_other_items(aws):
    invalidate(aws, "other", "/a")
    try:
        invalidate(aws, "other", "/b")
    except ClientError as error:
        if not says_that_it_is_known(error):
            raise
        return f"refused: {error}"
    raise AssertionError("accepted instead of refused")


def caller_reference_of_128_characters(aws):
    invalidate(aws, "x" * 128, "/a")


def invalid_item_refuses_the_batch(aws):
    with refused("InvalidArgument"):
        invalidate(aws, "invalid", "/good", "no-slash")


def tilde_is_refused(aws):
    with refused("InvalidArgument"):
        invalidate(aws, "tilde", "/runtime~main.js")


def batch_of_100_items(aws):
    invalidate(aws, "hundred", "/hundred/*", *(f"/hundred/{number}" for number in range(99)))


def quota_error_code(aws):
    # Too many for either quota that AWS's pages have named, unless a burst is allowed.
    wildcards = [f"/quota/{number}/*" for number in range(20)]
    try:
        invalidate(aws, "quota", *wildcards)
    except ClientError as error:
        agree("error code", error.response["Error"]["Code"], "TooManyInvalidationsInProgress")
        return f"refused: {error}"
    return "20 wildcards were accepted"


def unknown_distribution_code(aws):
    with refused("NoSuchDistribution"):
        invalidate(aws, "unknown", "/a", distribution="E00000000000AA")
