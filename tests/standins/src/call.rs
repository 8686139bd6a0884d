//! One request of a client, as the tests see it.

use hyper::Method;
use hyper::http::request::Parts;
use serde_json::Value;

use crate::xml::texts;

/// One of the services behind the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    S3,
    CloudFront,
    DynamoDb,
    Lambda,
    Sqs,
    CloudWatch,
    Iam,
}

/// One HTTP request of a client.
#[derive(Clone, Debug)]
pub struct Call {
    /// Counts from 1, in the order in which calls begin to take effect.
    pub sequence: usize,
    /// The access key id that signed the request.
    pub client: String,
    pub service: Service,
    /// The name in the service's API, such as `PutObject`.
    pub operation: String,
    pub bucket: Option<String>,
    /// S3: the decoded key. DynamoDB: the sort key, if the call names one item.
    pub key: Option<String>,
    /// The keys of a `DeleteObjects`.
    pub keys: Vec<String>,
    pub version_id: Option<String>,
    /// The `Range` header, or the `x-amz-copy-source-range`.
    pub range: Option<String>,
    pub distribution: Option<String>,
    pub cache_policy: Option<String>,
    pub table: Option<String>,
    /// Whether the request is conditional on the ETag of an existing object.
    pub is_etag_required: bool,
    /// The decoded `x-amz-copy-source`: bucket, slash, key.
    pub copy_source: Option<String>,
    /// Of a copy: what it takes from its source because the request does not say otherwise (S3 API, `CopyObject`).
    pub copied_by_default: Vec<&'static str>,
    /// The encryption that a write demands: `AES256`, or `aws:kms:` and the key's ARN.
    pub encryption: Option<String>,
    /// Operation and table of each item of a transaction.
    pub items: Vec<(String, String)>,
    /// Partition and sort key of each item that a DynamoDB call writes.
    pub written: Vec<(String, String)>,
    /// The paths of a `CreateInvalidation`.
    pub paths: Vec<String>,
    /// None while the call is in progress, and if it gets no answer.
    pub status: Option<u16>,
    /// Bytes of the request's body, without aws-chunked framing.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// The sequence number of the latest call when this one was answered.
    ///
    /// Call `b` began after `a` had ended if `a.ended_at < Some(b.sequence)`.
    pub ended_at: Option<usize>,
}

impl Call {
    /// Parses a request. Fields that the service does not use stay empty.
    pub(crate) fn of(parts: &Parts, body: &[u8]) -> Self {
        let mut call = Self {
            sequence: 0,
            client: client(parts),
            service: Service::S3,
            operation: String::new(),
            bucket: None,
            key: None,
            keys: Vec::new(),
            version_id: None,
            range: None,
            distribution: None,
            cache_policy: None,
            table: None,
            is_etag_required: false,
            copy_source: None,
            copied_by_default: Vec::new(),
            encryption: None,
            items: Vec::new(),
            written: Vec::new(),
            paths: Vec::new(),
            status: None,
            bytes_in: bytes_in(parts, body),
            bytes_out: 0,
            ended_at: None,
        };
        if let Some(target) = header(parts, "x-amz-target").filter(|target| target.starts_with("AmazonSQS.")) {
            call.service = Service::Sqs;
            call.operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        } else if let Some(target) = header(parts, "x-amz-target") {
            call.parse_dynamodb(target, body);
        } else if let Some(path) = parts.uri.path().strip_prefix("/2015-03-31/functions/") {
            call.service = Service::Lambda;
            let operation = if path.ends_with("/configuration") { "GetFunctionConfiguration" } else { "Invoke" };
            call.operation = operation.to_owned();
        } else if let Some(operation) = parts.uri.path().strip_prefix(crate::cloudwatch::PATH) {
            call.service = Service::CloudWatch;
            call.operation = operation.to_owned();
        } else if parts.method == Method::POST && parts.uri.path() == "/" {
            call.service = Service::Iam;
            let form = String::from_utf8_lossy(body);
            let action = form.split('&').find_map(|field| field.strip_prefix("Action="));
            call.operation = action.unwrap_or("Unknown").to_owned();
        } else if parts.uri.path().starts_with("/2020-05-31/") {
            call.parse_cloudfront(parts);
            if call.operation == "CreateInvalidation" {
                call.paths = texts(&String::from_utf8_lossy(body), "Path");
            }
        } else {
            call.parse_s3(parts, body);
        }
        call
    }

    fn parse_dynamodb(&mut self, target: &str, body: &[u8]) {
        self.service = Service::DynamoDb;
        self.operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let Ok(request) = serde_json::from_slice::<Value>(body) else {
            return;
        };
        self.table = text(&request["TableName"]);
        self.key = text(&request["Key"]["item"]["S"]).or(text(&request["Item"]["item"]["S"]));
        let key_of = |key: &Value| Some((text(&key["site"]["S"])?, text(&key["item"]["S"])?));
        let is_write = ["PutItem", "DeleteItem", "UpdateItem"].contains(&self.operation.as_str());
        self.written.extend(key_of(&request["Key"]).or(key_of(&request["Item"])).filter(|_| is_write));
        for item in request["TransactItems"].as_array().into_iter().flatten() {
            for (kind, fields) in item.as_object().into_iter().flatten() {
                let operation = if kind == "ConditionCheck" { "ConditionCheckItem" } else { &format!("{kind}Item") };
                self.items.push((operation.to_owned(), text(&fields["TableName"]).unwrap_or_default()));
                let is_write = !["Get", "ConditionCheck"].contains(&kind.as_str());
                self.written.extend(key_of(&fields["Key"]).or(key_of(&fields["Item"])).filter(|_| is_write));
            }
        }
    }

    fn parse_cloudfront(&mut self, parts: &Parts) {
        self.service = Service::CloudFront;
        let segments: Vec<&str> = parts.uri.path().split('/').skip(2).collect();
        let id = segments.get(1).map(|id| (*id).to_owned());
        match segments.first() {
            Some(&"cache-policy") => self.cache_policy = id,
            _ => self.distribution = id,
        }
        self.operation = match (&parts.method, segments.as_slice()) {
            (&Method::GET, ["cache-policy", _]) => "GetCachePolicy",
            (&Method::GET, ["origin-access-control", _]) => "GetOriginAccessControl",
            (&Method::GET, ["distribution", _]) => "GetDistribution",
            (&Method::GET, ["distribution", _, "config"]) => "GetDistributionConfig",
            (&Method::POST, ["distribution", _, "invalidation"]) => "CreateInvalidation",
            (&Method::GET, ["distribution", _, "invalidation"]) => "ListInvalidations",
            (&Method::GET, ["distribution", _, "invalidation", _]) => "GetInvalidation",
            _ => "Unknown",
        }
        .to_owned();
    }

    fn parse_s3(&mut self, parts: &Parts, body: &[u8]) {
        let path = parts.uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        self.bucket = (!bucket.is_empty()).then(|| bucket.to_owned());
        self.key = (!key.is_empty()).then(|| percent_decoded(key));
        self.version_id = query(parts, "versionId");
        self.copy_source = header(parts, "x-amz-copy-source").map(percent_decoded);
        let copies = self.copy_source.is_some();
        self.encryption = encryption(parts);
        self.is_etag_required = header(parts, "if-match").is_some();
        self.range = header(parts, "range").or(header(parts, "x-amz-copy-source-range")).map(str::to_owned);
        let has = |name| query(parts, name).is_some();
        self.operation = match (&parts.method, &self.bucket, &self.key) {
            (_, None, _) => "ListBuckets",
            (&Method::PUT, _, None) if has("versioning") => "PutBucketVersioning",
            (&Method::PUT, _, None) => "CreateBucket",
            (&Method::HEAD, _, None) => "HeadBucket",
            (&Method::DELETE, _, None) => "DeleteBucket",
            (&Method::POST, _, None) => "DeleteObjects",
            (_, _, None) if has("uploads") => "ListMultipartUploads",
            (_, _, None) if has("versioning") => "GetBucketVersioning",
            (_, _, None) if has("versions") => "ListObjectVersions",
            (_, _, None) if has("policy") => "GetBucketPolicy",
            (_, _, None) if has("lifecycle") => "GetBucketLifecycleConfiguration",
            (_, _, None) if has("notification") => "GetBucketNotificationConfiguration",
            (_, _, None) if has("location") => "GetBucketLocation",
            (_, _, None) if has("list-type") => "ListObjectsV2",
            (_, _, None) => "ListObjects",
            (&Method::PUT, _, _) if has("partNumber") && copies => "UploadPartCopy",
            (&Method::PUT, _, _) if has("partNumber") => "UploadPart",
            (&Method::PUT, _, _) if copies => "CopyObject",
            (&Method::PUT, _, _) => "PutObject",
            (&Method::HEAD, _, _) => "HeadObject",
            (&Method::DELETE, _, _) if has("uploadId") => "AbortMultipartUpload",
            (&Method::DELETE, _, _) => "DeleteObject",
            (&Method::POST, _, _) if has("uploads") => "CreateMultipartUpload",
            (&Method::POST, _, _) if has("uploadId") => "CompleteMultipartUpload",
            (&Method::GET, _, _) if has("uploadId") => "ListParts",
            (&Method::GET, _, _) if has("attributes") => "GetObjectAttributes",
            (&Method::GET, _, _) => "GetObject",
            _ => "Unknown",
        }
        .to_owned();
        if self.operation == "CopyObject" {
            self.copied_by_default = copied_by_default(parts);
        }
        if self.operation == "DeleteObjects" {
            let body = String::from_utf8_lossy(body);
            self.keys = texts(&body, "Key");
            self.is_etag_required = body.contains("<ETag>");
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name)?.to_str().ok()
}

fn query(parts: &Parts, name: &str) -> Option<String> {
    parts.uri.query()?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| percent_decoded(value))
    })
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Returns the access key id, which is the first component of the credential scope.
fn client(parts: &Parts) -> String {
    credential_scope(parts).and_then(|mut scope| scope.next()).unwrap_or_default().to_owned()
}

/// Returns the region that a request is signed for: the scope's third component, after the date.
pub(crate) fn signing_region(parts: &Parts) -> Option<String> {
    credential_scope(parts)?.nth(2).map(str::to_owned)
}

fn credential_scope(parts: &Parts) -> Option<std::str::Split<'_, char>> {
    let (_, scope) = header(parts, "authorization")?.split_once("Credential=")?;
    Some(scope.split('/'))
}

fn encryption(parts: &Parts) -> Option<String> {
    let algorithm = header(parts, "x-amz-server-side-encryption")?;
    let key = header(parts, "x-amz-server-side-encryption-aws-kms-key-id");
    Some(key.map_or_else(|| algorithm.to_owned(), |key| format!("{algorithm}:{key}")))
}

fn copied_by_default(parts: &Parts) -> Vec<&'static str> {
    let directives = [
        ("metadata", "x-amz-metadata-directive"),
        ("tags", "x-amz-tagging-directive"),
        ("annotations", "x-amz-object-annotation-directive"),
    ];
    let is_copied = |directive: &str| header(parts, directive).is_none_or(|directive| directive == "COPY");
    directives.into_iter().filter(|(_, directive)| is_copied(directive)).map(|(what, _)| what).collect()
}

fn bytes_in(parts: &Parts, body: &[u8]) -> u64 {
    header(parts, "x-amz-decoded-content-length").and_then(|length| length.parse().ok()).unwrap_or(body.len() as u64)
}
