//! The operations, as DynamoDB's JSON.

use serde_json::{Value, json};

use super::table::Table;
use super::{Refusal, Tables};

const REGION: &str = "us-east-1";

/// A table with one item, `site` and `head`, whose attributes each test chooses.
struct Ledger(Tables);

impl Ledger {
    fn with(attributes: Value) -> Self {
        let mut tables = Tables::default();
        tables.tables.insert((REGION.to_owned(), "ledger".to_owned()), Table::default());
        let mut ledger = Self(tables);
        ledger.put("head", attributes).unwrap();
        ledger
    }

    fn ask(&mut self, operation: &str, mut request: Value) -> Result<Value, Refusal> {
        if !operation.starts_with("Transact") {
            request["TableName"] = "ledger".into();
        }
        self.0.carry_out(REGION, operation, &request)
    }

    fn put(&mut self, name: &str, attributes: Value) -> Result<Value, Refusal> {
        self.ask("PutItem", json!({"Item": item(name, attributes)}))
    }

    fn head(&mut self) -> Value {
        self.ask("GetItem", json!({"Key": key("head")})).unwrap()["Item"].take()
    }

    /// Deletes the item if it meets the condition, and returns why not.
    fn refusal_of(&mut self, condition: &str, values: Value) -> Option<String> {
        let request = json!({
            "Key": key("head"),
            "ConditionExpression": condition,
            "ExpressionAttributeValues": values,
        });
        self.ask("DeleteItem", request).err().map(|refusal| message(&refusal))
    }

    fn update(&mut self, name: &str, expression: &str, values: Value) -> Result<Value, Refusal> {
        let request = json!({
            "Key": key(name),
            "UpdateExpression": expression,
            "ExpressionAttributeValues": values,
        });
        self.ask("UpdateItem", request)
    }
}

fn key(name: &str) -> Value {
    json!({"site": {"S": "site"}, "item": {"S": name}})
}

fn item(name: &str, attributes: Value) -> Value {
    let mut item = key(name);
    item.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
    item
}

fn message(refusal: &Refusal) -> String {
    format!("{}: {}", refusal.code, refusal.message)
}

fn attributes() -> Value {
    json!({
        "version": {"N": "7"},
        "owner": {"S": "me"},
        "offered": {"BOOL": true},
        "lease": {"M": {"until": {"S": "2026-11-22T10:15:00.000Z"}}},
    })
}

#[test]
fn conditions_hold_as_their_words_say() {
    let values = json!({
        ":seven": {"N": "7"}, ":written_otherwise": {"N": "+07"}, ":ten": {"N": "10"}, ":me": {"S": "me"},
        ":m": {"S": "m"}, ":true": {"BOOL": true}, ":later": {"S": "2026-11-22T10:15:00.001Z"},
    });
    let hold = [
        "version = :seven",
        "version = :written_otherwise",
        "version < :ten",
        "version <= :seven AND version >= :seven",
        "NOT version > :seven",
        "version <> :me",
        "missing <> :me",
        "owner = :me AND offered = :true",
        "begins_with(owner, :m)",
        "lease.until < :later",
        "attribute_exists(lease.until) AND attribute_not_exists(lease.holder)",
        "attribute_not_exists(version) OR version = :seven",
        // AND binds closer than OR.
        "owner = :me OR owner = :m AND version = :ten",
        "not (owner = :m or version = :ten)",
    ];
    let fail = [
        "version = :ten",
        "version = :me",
        "missing = :me",
        "missing < :ten",
        "version < :me",
        "attribute_exists(missing)",
        "attribute_exists(owner.until)",
        "begins_with(version, :m)",
        "begins_with(missing, :m)",
        "(owner = :me OR owner = :m) AND version = :ten",
    ];
    for (conditions, expected) in
        [(&hold[..], None), (&fail[..], Some("ConditionalCheckFailedException: The conditional request failed"))]
    {
        for condition in conditions {
            let mut used = values.clone();
            used.as_object_mut().unwrap().retain(|name, _| {
                let mut words =
                    condition.split(|character: char| !(character.is_alphanumeric() || "_:".contains(character)));
                words.any(|word| word == name)
            });
            let refusal = Ledger::with(attributes()).refusal_of(condition, used);
            assert_eq!(refusal.as_deref(), expected, "{condition}");
        }
    }
}

#[test]
fn what_is_not_emulated_or_wrong_is_refused_by_name() {
    let values = json!({":v": {"N": "1"}});
    let refused = [
        ("", "Invalid ConditionExpression: The expression can not be empty;"),
        ("version BETWEEN :v AND :v", "Invalid ConditionExpression: BETWEEN is not emulated"),
        ("version IN (:v)", "Invalid ConditionExpression: IN is not emulated"),
        ("contains(version, :v)", "Invalid ConditionExpression: the function contains is not emulated"),
        ("size(version) = :v", "Invalid ConditionExpression: the function size is not emulated"),
        ("version = :v AND", "Invalid ConditionExpression: Syntax error; token: \"<EOF>\""),
        ("version = :v version", "Invalid ConditionExpression: Syntax error; token: \"version\""),
        ("(version = :v", "Invalid ConditionExpression: Syntax error; token: \"<EOF>\""),
        ("list[0] = :v", "Syntax error; token: \"[0] = :v\", near: \"list[0] = :v\""),
        (
            "version = :other",
            "Invalid ConditionExpression: An expression attribute value used in expression is not defined; attribute value: :other",
        ),
        (
            "#name = :v",
            "Invalid ConditionExpression: An expression attribute name used in the document path is not defined; attribute name: #name",
        ),
        ("attribute_exists(version)", "Value provided in ExpressionAttributeValues unused in expressions: keys: {:v}"),
    ];
    for (condition, expected) in refused {
        let refusal = Ledger::with(attributes()).refusal_of(condition, values.clone());
        assert_eq!(refusal, Some(format!("ValidationException: {expected}")), "{condition}");
    }
    let mut ledger = Ledger::with(attributes());
    for (operation, request) in [
        ("GetItem", json!({"Key": key("head"), "ProjectionExpression": "version"})),
        ("PutItem", json!({"Item": key("head"), "ReturnValues": "ALL_OLD"})),
        ("Query", json!({"KeyConditionExpression": "site = :s", "IndexName": "other"})),
        (
            "TransactWriteItems",
            json!({"TransactItems": [{"Put": {"TableName": "ledger", "Item": key("a"), "Expected": {}}}]}),
        ),
        ("DescribeTable", json!({})),
    ] {
        let refusal = ledger.ask(operation, request).unwrap_err();
        assert!(refusal.message.ends_with("is not emulated"), "{operation}: {refusal:?}");
    }
    for key in [json!({"site": {"S": "site"}}), json!({"site": {"S": "site"}, "item": {"S": ""}})] {
        let refusal = ledger.ask("GetItem", json!({"Key": key})).unwrap_err();
        assert_eq!(refusal.message, "The provided key element does not match the schema");
    }
}

#[test]
fn updates_set_and_remove_attributes_at_any_depth() {
    let mut ledger = Ledger::with(attributes());
    let expression = "SET version = version + :one, lease.holder = :me, attempts = if_not_exists(attempts, :one) - :one
        REMOVE offered, owner";
    ledger.update("head", expression, json!({":one": {"N": "1"}, ":me": {"S": "me"}})).unwrap();
    let after = json!({
        "version": {"N": "8"},
        "attempts": {"N": "0"},
        "lease": {"M": {"until": {"S": "2026-11-22T10:15:00.000Z"}, "holder": {"S": "me"}}},
    });
    assert_eq!(ledger.head(), item("head", after.clone()));

    let one = json!({":one": {"N": "1"}});
    let refused = [
        ("SET missing.name = :one", "The document path provided in the update expression is invalid for update"),
        ("SET a = missing + :one", "The provided expression refers to an attribute that does not exist in the item"),
        ("SET a = lease + :one", "An operand in the update expression has an incorrect data type"),
        ("SET a = :one, a = :one", "Invalid UpdateExpression: Two document paths overlap with each other"),
        ("SET lease = :one REMOVE lease.until", "Invalid UpdateExpression: Two document paths overlap with each other"),
        ("ADD version :one", "Invalid UpdateExpression: a section other than SET and REMOVE is not emulated"),
        ("SET a = list_append(a, :one)", "Invalid UpdateExpression: the function list_append is not emulated"),
        (
            "SET item = :one",
            "One or more parameter values were invalid: Cannot update attribute item. This attribute is part of the key",
        ),
    ];
    for (expression, expected) in refused {
        let refusal = ledger.update("head", expression, one.clone()).unwrap_err();
        assert_eq!(message(&refusal), format!("ValidationException: {expected}"), "{expression}");
    }
    assert_eq!(ledger.head(), item("head", after), "a refused update changes nothing");

    ledger.update("new", "SET version = :one", one).unwrap();
    let created = ledger.ask("GetItem", json!({"Key": key("new")})).unwrap();
    assert_eq!(created["Item"], item("new", json!({"version": {"N": "1"}})));
}

#[test]
fn a_cancelled_transaction_changes_nothing_and_gives_a_reason_for_each_action() {
    let mut ledger = Ledger::with(attributes());
    let put = |name: &str| json!({"Put": {"TableName": "ledger", "Item": key(name)}});
    let check = |version: &str| {
        json!({"ConditionCheck": {
            "TableName": "ledger", "Key": key("head"), "ConditionExpression": "#v = :v",
            "ExpressionAttributeNames": {"#v": "version"}, "ExpressionAttributeValues": {":v": {"N": version}},
        }})
    };
    let write =
        |ledger: &mut Ledger, actions: Value| ledger.ask("TransactWriteItems", json!({"TransactItems": actions}));
    let refusal = write(&mut ledger, json!([put("a"), check("8"), put("b")])).unwrap_err();
    assert_eq!(
        message(&refusal),
        "TransactionCanceledException: Transaction cancelled, please refer cancellation reasons for specific reasons \
         [None, ConditionalCheckFailed, None]"
    );
    assert_eq!(refusal.unmet, [false, true, false]);
    let twice = write(&mut ledger, json!([put("a"), put("a")])).unwrap_err();
    assert_eq!(twice.message, "Transaction request cannot include multiple operations on one item");
    let large =
        json!({"Put": {"TableName": "ledger", "Item": item("b", json!({"text": {"S": "x".repeat(400 << 10)}}))}});
    let large = write(&mut ledger, json!([put("a"), large])).unwrap_err();
    assert_eq!(large.message, "Item size has exceeded the maximum allowed size");
    assert_eq!(ledger.ask("Scan", json!({})).unwrap()["Count"], 1);

    write(&mut ledger, json!([put("a"), check("7"), put("b")])).unwrap();
    let gets: Vec<Value> = ["b", "c", "a"].map(|name| json!({"Get": {"TableName": "ledger", "Key": key(name)}})).into();
    let answer = ledger.ask("TransactGetItems", json!({"TransactItems": gets})).unwrap();
    assert_eq!(answer["Responses"], json!([{"Item": key("b")}, {}, {"Item": key("a")}]));
}

#[test]
fn a_query_returns_the_items_of_a_prefix_in_order_and_in_pages() {
    let mut ledger = Ledger::with(attributes());
    let large = json!({"text": {"S": "x".repeat(390 << 10)}});
    for name in ["order#b", "order#é", "order#a", "order#B", "orders", "order"] {
        ledger.put(name, large.clone()).unwrap();
    }
    let other = json!({"Item": {"site": {"S": "site2"}, "item": {"S": "order#other"}}});
    ledger.ask("PutItem", other).unwrap();
    let mut pages = |changes: Value| {
        let mut request = json!({
            "KeyConditionExpression": "#s = :s AND begins_with(#i, :p)",
            "ExpressionAttributeNames": {"#s": "site", "#i": "item"},
            "ExpressionAttributeValues": {":s": {"S": "site"}, ":p": {"S": "order#"}},
        });
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let mut pages = Vec::new();
        loop {
            let answer = ledger.ask("Query", request.clone()).unwrap();
            let names = answer["Items"].as_array().unwrap().iter().map(|item| item["item"]["S"].as_str().unwrap());
            pages.push(names.map(|name| name.trim_start_matches("order#").to_owned()).collect::<String>());
            match &answer["LastEvaluatedKey"] {
                Value::Null => return pages,
                last => request["ExclusiveStartKey"] = last.clone(),
            }
        }
    };
    assert_eq!(pages(json!({})), ["Ba", "bé"], "a page has at most a megabyte");
    assert_eq!(pages(json!({"ScanIndexForward": false})), ["éb", "aB"]);
    assert_eq!(pages(json!({"Limit": 1})), ["B", "a", "b", "é", ""], "a full page names its last item");
}
