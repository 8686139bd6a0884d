"""Beliefs about S3."""

import base64
import hashlib
import time
import zlib
from urllib.parse import unquote_plus

from beliefs import agree, refused, wait_until

ONE, TWO = b"one", b"two!"
# S3 takes parts of 5 MiB or more, except for the last.
PARTS = [b"a" * (5 << 20), b"the last part"]
WHOLE = b"".join(PARTS)


def try_all(results, aws):
    results.try_all(
        [
            s3_strong_consistency,
            put_if_none_match,
            put_if_none_match_on_a_delete_marker,
            put_if_match,
            put_checks_crc32,
            head_tells_crc32,
            multipart_crc32,
            part_copy_crc32,
            multipart_if_none_match,
            multipart_last_modified,
            copy_replaces_headers,
            copy_keeps_etag_and_crc32,
            copy_source_if_match,
            etag_of_equal_bytes,
            etag_under_kms,
            list_order,
            list_start_after,
            delete_if_match,
            delete_of_missing_keys,
            delete_of_control_characters,
            get_last_bytes,
            get_of_an_empty_object,
            get_version,
            expected_bucket_owner,
        ],
        aws,
    )


def put(aws, key, body, **options):
    """Writes an object to the live bucket and returns its ETag, in its quotes."""
    return aws.s3.put_object(Bucket=aws.live, Key=key, Body=body, **options)["ETag"]


def head(aws, key):
    return aws.s3.head_object(Bucket=aws.live, Key=key, ChecksumMode="ENABLED")


def crc32(body):
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def agree_on_crc32(aws, key, body):
    """Checks that S3 tells the CRC-32 of the whole object."""
    found = head(aws, key)
    agree("checksum", (found.get("ChecksumCRC32"), found.get("ChecksumType")), (crc32(body), "FULL_OBJECT"))


def listed(aws, prefix):
    answer = aws.s3.list_objects_v2(Bucket=aws.live, Prefix=prefix)
    return [(item["Key"], item["ETag"]) for item in answer.get("Contents", [])]


def s3_strong_consistency(aws):
    for body in 5 * [ONE, TWO]:
        etag = put(aws, "consistency", body)
        agree("body", aws.s3.get_object(Bucket=aws.live, Key="consistency")["Body"].read(), body)
        agree("listing", listed(aws, "consistency"), [("consistency", etag)])
    aws.s3.delete_object(Bucket=aws.live, Key="consistency")
    agree("listing after the delete", listed(aws, "consistency"), [])
    with refused("404"):
        head(aws, "consistency")


def put_if_none_match(aws):
    put(aws, "new", ONE, IfNoneMatch="*")
    with refused("PreconditionFailed"):
        put(aws, "new", TWO, IfNoneMatch="*")


def put_if_none_match_on_a_delete_marker(aws):
    aws.s3.put_object(Bucket=aws.staging, Key="marker", Body=ONE)
    aws.s3.delete_object(Bucket=aws.staging, Key="marker")
    aws.s3.put_object(Bucket=aws.staging, Key="marker", Body=TWO, IfNoneMatch="*")


def put_if_match(aws):
    etag = put(aws, "match", ONE)
    put(aws, "match", TWO, IfMatch=etag)
    with refused("PreconditionFailed"):
        put(aws, "match", ONE, IfMatch=etag)
    with refused("NoSuchKey", "404"):
        put(aws, "match-missing", ONE, IfMatch=etag)


def put_checks_crc32(aws):
    with refused("BadDigest"):
        put(aws, "corrupt", ONE, ChecksumCRC32=crc32(TWO))
    with refused("404"):
        head(aws, "corrupt")


def head_tells_crc32(aws):
    put(aws, "checked", ONE, ChecksumCRC32=crc32(ONE))
    agree_on_crc32(aws, "checked", ONE)


def begin(aws, key):
    """Begins a multipart upload with a checksum of the whole object."""
    upload = aws.s3.create_multipart_upload(
        Bucket=aws.live, Key=key, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
    )
    return {"Bucket": aws.live, "Key": key, "UploadId": upload["UploadId"]}


def complete(aws, upload, parts, body):
    parts = [
        {"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}
        for number, part in enumerate(parts, 1)
    ]
    return aws.s3.complete_multipart_upload(
        **upload, MultipartUpload={"Parts": parts}, ChecksumType="FULL_OBJECT", ChecksumCRC32=crc32(body)
    )


def multipart_crc32(aws):
    def parts_of(upload):
        for number, part in enumerate(PARTS, 1):
            answer = aws.s3.upload_part(**upload, PartNumber=number, Body=part, ChecksumCRC32=crc32(part))
            yield {"ETag": answer["ETag"], "ChecksumCRC32": crc32(part)}

    upload = begin(aws, "large")
    complete(aws, upload, parts_of(upload), WHOLE)
    agree_on_crc32(aws, "large", WHOLE)
    upload = begin(aws, "large")
    with refused("BadDigest"):
        complete(aws, upload, list(parts_of(upload)), ONE)


def part_copy_crc32(aws):
    def parts_of(upload):
        for number, (start, end) in enumerate([(0, len(PARTS[0])), (len(PARTS[0]), len(WHOLE))], 1):
            answer = aws.s3.upload_part_copy(
                **upload, PartNumber=number, CopySource=f"{aws.live}/source", CopySourceRange=f"bytes={start}-{end - 1}"
            )
            yield answer["CopyPartResult"]

    put(aws, "source", WHOLE)
    upload = begin(aws, "copied")
    complete(aws, upload, parts_of(upload), WHOLE)
    agree_on_crc32(aws, "copied", WHOLE)
    upload = begin(aws, "copied")
    with refused("BadDigest"):
        complete(aws, upload, list(parts_of(upload)), ONE)


def upload_of_one_part(aws, key):
    upload = aws.s3.create_multipart_upload(Bucket=aws.live, Key=key)
    upload = {"Bucket": aws.live, "Key": key, "UploadId": upload["UploadId"]}
    etag = aws.s3.upload_part(**upload, PartNumber=1, Body=ONE)["ETag"]
    return {**upload, "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": etag}]}}


def multipart_if_none_match(aws):
    put(aws, "taken", ONE)
    upload = upload_of_one_part(aws, "taken")
    with refused("PreconditionFailed"):
        aws.s3.complete_multipart_upload(**upload, IfNoneMatch="*")


def multipart_last_modified(aws):
    upload = upload_of_one_part(aws, "dated")
    end = time.monotonic() + 5
    wait_until(10, lambda: time.monotonic() > end)
    aws.s3.complete_multipart_upload(**upload)
    answer = head(aws, "dated")
    now = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return f"an upload that took five seconds has the Last-Modified {answer['LastModified']:%H:%M:%S}, read at {now}"


def copy_onto_itself(aws, key, **options):
    answer = aws.s3.copy_object(
        Bucket=aws.live, Key=key, CopySource=f"{aws.live}/{key}", MetadataDirective="REPLACE", **options
    )
    return answer["CopyObjectResult"]["ETag"]


def copy_replaces_headers(aws):
    put(aws, "headers", ONE, ContentType="text/plain", CacheControl="no-store", Metadata={"a": "b"})
    copy_onto_itself(aws, "headers", ContentType="text/html")
    found = head(aws, "headers")
    agree("headers", (found["ContentType"], found.get("CacheControl"), found["Metadata"]), ("text/html", None, {}))


def copy_keeps_etag_and_crc32(aws):
    etag = put(aws, "itself", ONE, ChecksumCRC32=crc32(ONE))
    agree("ETag", copy_onto_itself(aws, "itself", ContentType="text/html"), etag)
    agree_on_crc32(aws, "itself", ONE)


def copy_source_if_match(aws):
    etag = put(aws, "source-match", ONE)
    put(aws, "source-match", TWO)
    with refused("PreconditionFailed"):
        copy_onto_itself(aws, "source-match", ContentType="text/html", CopySourceIfMatch=etag)


def quoted_md5(body):
    return f'"{hashlib.md5(body).hexdigest()}"'


def etag_of_equal_bytes(aws):
    etags = [put(aws, "etag", ONE), put(aws, "etag", TWO), put(aws, "etag", ONE, ContentType="text/html")]
    agree("ETags", etags, [quoted_md5(ONE), quoted_md5(TWO), quoted_md5(ONE)])


def etag_under_kms(aws):
    etag = put(aws, "encrypted", ONE, ServerSideEncryption="aws:kms", ChecksumCRC32=crc32(ONE))
    agree_on_crc32(aws, "encrypted", ONE)
    agree("whether the ETag is the MD5", etag == quoted_md5(ONE), False)


def list_order(aws):
    # In UTF-16 the last two are the other way round.
    keys = [f"order/{name}" for name in ("a b", "a+b", "a-b", "a/b", "é", "～", "𝄞")]
    for key in reversed(keys):
        put(aws, key, ONE)
    answer = aws.s3.list_objects_v2(Bucket=aws.live, Prefix="order/", EncodingType="url")
    agree("keys", [unquote_plus(item["Key"]) for item in answer["Contents"]], keys)


def list_start_after(aws):
    answer = aws.s3.list_objects_v2(Bucket=aws.live, Prefix="order/", StartAfter="order/a b", MaxKeys=1)
    agree("keys", [item["Key"] for item in answer["Contents"]], ["order/a+b"])


def delete(aws, etags):
    """Deletes objects while they have these ETags; returns the errors by key."""
    objects = [{"Key": key, "ETag": etag} for key, etag in etags.items()]
    answer = aws.s3.delete_objects(Bucket=aws.live, Delete={"Objects": objects, "Quiet": True})
    return {error["Key"]: error["Code"] for error in answer.get("Errors", [])}


def delete_if_match(aws):
    etags = {key: put(aws, key, ONE) for key in ("delete-1", "delete-2")}
    put(aws, "delete-2", TWO)
    agree("errors", delete(aws, etags), {"delete-2": "PreconditionFailed"})
    agree("keys that remain", [key for key, _ in listed(aws, "delete-")], ["delete-2"])


def delete_of_missing_keys(aws):
    errors = delete(aws, {"never": quoted_md5(ONE)})
    agree("errors except NoSuchKey", {key: code for key, code in errors.items() if code != "NoSuchKey"}, {})
    return f"errors: {errors}"


def delete_of_control_characters(aws):
    put(aws, "control-\x01", ONE)
    aws.s3.delete_object(Bucket=aws.live, Key="control-\x01")
    with refused("404"):
        head(aws, "control-\x01")


def get_range(aws, key, bytes_range):
    answer = aws.s3.get_object(Bucket=aws.live, Key=key, Range=bytes_range)
    return answer["ContentRange"], answer["Body"].read()


def get_last_bytes(aws):
    put(aws, "short", TWO)
    agree("the last two bytes", get_range(aws, "short", "bytes=-2"), ("bytes 2-3/4", b"o!"))
    agree("the last nine bytes of four", get_range(aws, "short", "bytes=-9"), ("bytes 0-3/4", TWO))


def get_of_an_empty_object(aws):
    put(aws, "empty", b"")
    with refused("InvalidRange", "416"):
        get_range(aws, "empty", "bytes=-9")


def get_version(aws):
    version = aws.s3.put_object(Bucket=aws.staging, Key="version", Body=ONE)["VersionId"]
    aws.s3.put_object(Bucket=aws.staging, Key="version", Body=TWO)
    marker = aws.s3.delete_object(Bucket=aws.staging, Key="version")["VersionId"]
    old = aws.s3.get_object(Bucket=aws.staging, Key="version", VersionId=version)
    agree("the old version", old["Body"].read(), ONE)
    with refused("MethodNotAllowed"):
        aws.s3.get_object(Bucket=aws.staging, Key="version", VersionId=marker)
    with refused("NoSuchKey"):
        aws.s3.get_object(Bucket=aws.staging, Key="version")


def expected_bucket_owner(aws):
    with refused("AccessDenied"):
        put(aws, "owner", ONE, ExpectedBucketOwner="111122223333")
