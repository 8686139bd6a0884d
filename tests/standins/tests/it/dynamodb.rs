//! The table.

use standins::{Does, Fault};

use crate::account::{account, refusal};

#[tokio::test]
async fn the_table_supports_conditions_and_transactions() {
    use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
    let (cloud, _) = account().await;
    cloud.create_table("ledger");
    let dynamodb = aws_sdk_dynamodb::Client::new(&cloud.sdk_config().await);
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let n = |number: u32| AttributeValue::N(number.to_string());
    let create = || {
        let put = dynamodb.put_item().table_name("ledger");
        put.item("site", s("a")).item("item", s("head")).item("sequence", n(1))
    };
    let create = || create().condition_expression("attribute_not_exists(site)");
    create().send().await.unwrap();
    let refused = refusal(create().send().await);
    assert_eq!(refused, ("ConditionalCheckFailedException".to_owned(), 400));

    let update = || {
        let update = dynamodb.update_item().table_name("ledger");
        let update = update.key("site", s("a")).key("item", s("head"));
        update
            .update_expression("SET lease = :lease, #n = if_not_exists(#n, :zero) + :one")
            .expression_attribute_names("#n", "sequence")
            .expression_attribute_values(":lease", s("me"))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":one", n(1))
    };
    update().condition_expression("attribute_not_exists(lease)").send().await.unwrap();
    let again = update().condition_expression("attribute_not_exists(lease)").send().await;
    assert_eq!(refusal(again).0, "ConditionalCheckFailedException");

    let owed = |number: u32| {
        let put = Put::builder().table_name("ledger").item("site", s("a"));
        let put = put.item("item", s(&format!("owed#{number}"))).build().unwrap();
        TransactWriteItem::builder().put(put).build()
    };
    let held = |by: &str| {
        let update = Update::builder().table_name("ledger").key("site", s("a"));
        let update = update.key("item", s("head")).update_expression("SET batches = :one");
        let update = update.condition_expression("lease = :by");
        let update = update.expression_attribute_values(":one", n(1));
        let update = update.expression_attribute_values(":by", s(by)).build().unwrap();
        TransactWriteItem::builder().update(update).build()
    };
    let transact = |by: &str| {
        let write = dynamodb.transact_write_items();
        write.transact_items(held(by)).transact_items(owed(1)).transact_items(owed(2)).send()
    };
    assert_eq!(refusal(transact("you").await).0, "TransactionCanceledException");
    let query = || {
        let query = dynamodb.query().table_name("ledger").consistent_read(true);
        let query = query.key_condition_expression("site = :s AND begins_with(#i, :p)");
        let query = query.expression_attribute_names("#i", "item");
        let query = query.expression_attribute_values(":s", s("a"));
        query.expression_attribute_values(":p", s("owed#")).send()
    };
    assert_eq!(query().await.unwrap().count(), 0);
    transact("me").await.unwrap();
    assert_eq!(query().await.unwrap().count(), 2);

    let key = |item: &str| {
        let get = dynamodb.get_item().table_name("ledger").consistent_read(true);
        get.key("site", s("a")).key("item", s(item)).send()
    };
    let head = key("head").await.unwrap().item.unwrap();
    assert_eq!(head["sequence"], n(2));
    assert_eq!(head["batches"], n(1));
    let delete = dynamodb.delete_item().table_name("ledger");
    let delete = delete.key("site", s("a")).key("item", s("owed#1"));
    let delete = || delete.clone().condition_expression("attribute_exists(site)").send();
    delete().await.unwrap();
    assert_eq!(refusal(delete().await).0, "ConditionalCheckFailedException");
    assert_eq!(key("owed#1").await.unwrap().item, None);

    let large = dynamodb.put_item().table_name("ledger").item("site", s("a"));
    let large = large.item("item", s("x")).item("text", s(&"x".repeat(400 * 1024)));
    assert_eq!(refusal(large.send().await), ("ValidationException".to_owned(), 400));
    let call = cloud.calls().into_iter().find(|call| call.operation == "UpdateItem").unwrap();
    assert_eq!((call.table.as_deref(), call.key.as_deref()), (Some("ledger"), Some("head")));

    let throttled = Does::refuse(400, "ProvisionedThroughputExceededException");
    cloud.fault(Fault::on("GetItem", throttled));
    key("head").await.unwrap();
    let last: Vec<_> = cloud.calls().iter().rev().take(2).map(|call| call.status).collect();
    assert_eq!(last, [Some(200), Some(400)]);
}

#[tokio::test]
async fn a_transaction_takes_100_items_and_4_mb() {
    use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
    let (cloud, _) = account().await;
    cloud.create_table("ledger");
    let dynamodb = aws_sdk_dynamodb::Client::new(&cloud.sdk_config().await);
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let put = |number: usize, bytes: usize| {
        let put = Put::builder().table_name("ledger").item("site", s("a")).item("item", s(&number.to_string()));
        TransactWriteItem::builder().put(put.item("text", s(&"x".repeat(bytes))).build().unwrap()).build()
    };
    let transact = |count: usize, bytes: usize| {
        let writes = (0..count).map(|number| put(number, bytes)).collect();
        dynamodb.transact_write_items().set_transact_items(Some(writes)).send()
    };
    transact(100, 40_000).await.unwrap();
    for (count, bytes) in [(101, 1), (100, 42_000)] {
        assert_eq!(refusal(transact(count, bytes).await), ("ValidationException".to_owned(), 400));
    }
}

#[tokio::test]
async fn a_restored_table_has_the_items_of_the_backup_and_no_others() {
    use aws_sdk_dynamodb::types::AttributeValue;
    let (cloud, _) = account().await;
    cloud.create_table("ledger");
    let dynamodb = aws_sdk_dynamodb::Client::new(&cloud.sdk_config().await);
    let put = async |item: &str, value: &str| {
        let s = |text: &str| AttributeValue::S(text.to_owned());
        let put = dynamodb.put_item().table_name("ledger");
        put.item("site", s("a")).item("item", s(item)).item("value", s(value)).send().await.unwrap();
    };
    put("head", "one").await;
    put("deployment", "one").await;
    let backup = cloud.table("ledger");
    let items: Vec<_> = backup.iter().map(|item| item["item"]["S"].as_str().unwrap()).collect();
    assert_eq!(items, ["deployment", "head"]);
    put("head", "two").await;
    put("later", "two").await;
    assert_eq!(cloud.table("ledger").len(), 3);
    cloud.restore_table("ledger", &backup);
    assert_eq!(cloud.table("ledger"), backup);
}

#[tokio::test]
async fn items_expire_at_their_time() {
    use aws_sdk_dynamodb::types::AttributeValue;
    let (cloud, _) = account().await;
    cloud.create_table("ledger");
    let dynamodb = aws_sdk_dynamodb::Client::new(&cloud.sdk_config().await);
    let put = |item: &str| {
        let s = |text: &str| AttributeValue::S(text.to_owned());
        dynamodb.put_item().table_name("ledger").item("site", s("a")).item("item", s(item))
    };
    put("head").send().await.unwrap();
    for (item, expires_at) in [("old", "1"), ("young", "99999999999")] {
        put(item).item("expires_at", AttributeValue::N(expires_at.to_owned())).send().await.unwrap();
    }
    cloud.expire_items("ledger");
    let items = cloud.table("ledger");
    let items: Vec<_> = items.iter().map(|item| item["item"]["S"].as_str().unwrap()).collect();
    assert_eq!(items, ["head", "young"]);
}
