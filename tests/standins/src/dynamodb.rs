//! DynamoDB. The crate `winterbaume` implements it; this adds the limits on items and transactions, and backups.

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode};
use s3s::Body;
use serde_json::{Value, json};
use winterbaume_core::{MockRequest, MockService as _};
use winterbaume_dynamodb::DynamoDbService;

use crate::Service;
use crate::response::error;

/// "The maximum item size in DynamoDB is 400 KB, which includes both attribute name binary
/// length (UTF-8 length) and attribute value lengths" (DynamoDB Developer Guide, Quotas).
const MAX_ITEM_BYTES: usize = 400 * 1024;

/// A transaction "groups up to 100 action requests", and "the aggregate size of the items in the transaction cannot
/// exceed 4 MB" (DynamoDB API, `TransactWriteItems`).
const MAX_ACTIONS: usize = 100;
const MAX_TRANSACTION_BYTES: usize = 4 * 1024 * 1024;

pub(crate) struct DynamoDb {
    service: DynamoDbService,
}

impl Default for DynamoDb {
    fn default() -> Self {
        Self { service: DynamoDbService::new() }
    }
}

impl DynamoDb {
    pub(crate) async fn answer(&self, parts: Parts, body: Bytes) -> Response<Body> {
        if let Some(excess) = excess(&body) {
            return error(Service::DynamoDb, 400, "ValidationException", excess);
        }
        let request =
            MockRequest { method: parts.method.to_string(), uri: parts.uri.to_string(), headers: parts.headers, body };
        let answer = self.service.handle(request).await;
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = StatusCode::from_u16(answer.status).expect("the service answers with a valid status");
        *response.headers_mut() = answer.headers;
        response
    }

    /// Creates a table with the keys `site` and `item`, both strings.
    pub(crate) async fn create_table(&self, name: &str, region: &str) {
        let table = json!({
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [
                {"AttributeName": "site", "KeyType": "HASH"},
                {"AttributeName": "item", "KeyType": "RANGE"},
            ],
            "AttributeDefinitions": [
                {"AttributeName": "site", "AttributeType": "S"},
                {"AttributeName": "item", "AttributeType": "S"},
            ],
        });
        self.ask(region, "CreateTable", &table).await;
    }

    /// Returns all items of a table, sorted by their keys.
    pub(crate) async fn items(&self, name: &str, region: &str) -> Vec<Value> {
        let answer = self.ask(region, "Scan", &json!({"TableName": name})).await;
        let mut items = answer["Items"].as_array().cloned().unwrap_or_default();
        items.sort_by_key(|item| key(item).to_string());
        items
    }

    /// Returns one item of a table.
    pub(crate) async fn item(&self, table: &str, region: &str, site: &str, item: &str) -> Option<Value> {
        let key = json!({"site": {"S": site}, "item": {"S": item}});
        let mut answer = self.ask(region, "GetItem", &json!({"TableName": table, "Key": key})).await;
        Some(answer["Item"].take()).filter(Value::is_object)
    }

    /// Replaces all items of a table.
    pub(crate) async fn restore(&self, name: &str, region: &str, items: &[Value]) {
        for item in self.items(name, region).await {
            self.ask(region, "DeleteItem", &json!({"TableName": name, "Key": key(&item)})).await;
        }
        for item in items {
            self.ask(region, "PutItem", &json!({"TableName": name, "Item": item})).await;
        }
    }

    /// Makes a call that must succeed, which is not a client's.
    async fn ask(&self, region: &str, operation: &str, body: &Value) -> Value {
        let mut headers = HeaderMap::new();
        let target = format!("DynamoDB_20120810.{operation}").parse();
        headers.insert("x-amz-target", target.expect("a header value"));
        // The service reads the region from the credential scope.
        let scope = format!("AWS4-HMAC-SHA256 Credential=x/20260101/{region}/dynamodb/aws4_request");
        headers.insert("authorization", scope.parse().expect("a header value"));
        let request =
            MockRequest { method: "POST".to_owned(), uri: "/".to_owned(), headers, body: body.to_string().into() };
        let answer = self.service.handle(request).await;
        assert_eq!(answer.status, 200, "{operation}: {:?}", answer.body);
        serde_json::from_slice(&answer.body).expect("DynamoDB answers with JSON")
    }
}

/// Returns the primary key of an item.
fn key(item: &Value) -> Value {
    json!({"site": item["site"], "item": item["item"]})
}

/// Returns the limit that a request exceeds, as far as the request itself shows it: by a whole item, by the new values of
/// an update, or by the actions of a transaction.
fn excess(body: &[u8]) -> Option<&'static str> {
    // No shorter request has so many actions, or so large an item.
    if body.len() <= MAX_ACTIONS * 50 {
        return None;
    }
    let request: Value = serde_json::from_slice(body).ok()?;
    let actions = request["TransactItems"].as_array().map(Vec::as_slice).unwrap_or_default();
    if actions.len() > MAX_ACTIONS {
        return Some("Member must have length less than or equal to 100");
    }
    let kinds = ["Put", "Update"];
    let writes = actions.iter().flat_map(|item| kinds.map(|kind| &item[kind]));
    let sizes = writes.chain([&request]).map(|write| {
        let values = map_bytes(&write["ExpressionAttributeValues"]);
        map_bytes(&write["Item"]).max(values)
    });
    let sizes: Vec<usize> = sizes.collect();
    if sizes.iter().any(|bytes| *bytes > MAX_ITEM_BYTES) {
        return Some("Item size has exceeded the maximum allowed size");
    }
    (sizes.iter().sum::<usize>() > MAX_TRANSACTION_BYTES).then_some("Transaction request size is over the limit")
}

fn map_bytes(attributes: &Value) -> usize {
    let attributes = attributes.as_object().into_iter().flatten();
    attributes.map(|(name, value)| name.len() + value_bytes(value)).sum()
}

/// Returns the size of an attribute value such as `{"S": "text"}`.
fn value_bytes(value: &Value) -> usize {
    let Some((kind, content)) = value.as_object().and_then(|value| value.iter().next()) else {
        return 0;
    };
    match (kind.as_str(), content) {
        ("M", map) => 3 + map_bytes(map),
        ("L", Value::Array(values)) => 3 + values.iter().map(|value| 1 + value_bytes(value)).sum::<usize>(),
        ("B", Value::String(base64)) => base64.len() / 4 * 3,
        (_, Value::String(text)) => text.len(),
        (_, Value::Array(texts)) => texts.iter().filter_map(Value::as_str).map(str::len).sum(),
        _ => 1,
    }
}
