//! Listings of objects.

use aws_sdk_s3::types::EncodingType;
use standins::Headers;

use crate::account::account;

#[tokio::test]
async fn listings_have_pages_of_1000_keys_in_byte_order() {
    let (cloud, s3) = account().await;
    let mut keys: Vec<String> = (0..2100).map(|number| format!("d/{number}")).collect();
    keys.extend(["d/é", "d/z", "d/a b", "d/😀", "d/～", "e"].map(str::to_owned));
    for key in &keys {
        cloud.put_object("site", key, "x", Headers::default());
    }
    cloud.delete_object("site", "d/0");
    keys.retain(|key| key.starts_with("d/") && key != "d/0");
    keys.sort();

    let list = || s3.list_objects_v2().bucket("site").prefix("d/");
    let mut listed = Vec::new();
    let mut sizes = Vec::new();
    let mut pages = list().into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        sizes.push(page.contents().len());
        listed.extend(page.contents.unwrap_or_default());
    }
    assert_eq!(sizes, [1000, 1000, 104]);
    assert!(listed.iter().map(|object| object.key().unwrap()).eq(&keys));
    assert_eq!(listed[0].e_tag(), Some("\"9dd4e461268c8034f5c8564e155c67a6\""));
    assert_eq!(listed[0].size(), Some(1));

    let rest = list().start_after("d/a").encoding_type(EncodingType::Url);
    let rest = rest.send().await.unwrap();
    let encoded = rest.contents().iter().map(|object| object.key().unwrap());
    let expected = ["d/a+b", "d/z", "d/%C3%A9", "d/%EF%BD%9E", "d/%F0%9F%98%80"];
    assert!(encoded.eq(expected));
}

#[tokio::test]
async fn a_delimiter_groups_keys_across_pages() {
    let (cloud, s3) = account().await;
    for key in ["a", "b/1", "b/2", "b/c/3", "d", "e/4", "f"] {
        cloud.put_object("site", key, "x", Headers::default());
    }
    for size in 1..=6 {
        let list = s3.list_objects_v2().bucket("site").delimiter("/").max_keys(size);
        let mut pages = list.into_paginator().send();
        let (mut keys, mut folders) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            keys.extend(page.contents().iter().filter_map(|object| object.key()).map(str::to_owned));
            let prefixes = page.common_prefixes().iter();
            folders.extend(prefixes.filter_map(|it| it.prefix()).map(str::to_owned));
        }
        assert_eq!(keys, ["a", "d", "f"], "{size} a page");
        assert_eq!(folders, ["b/", "e/"], "{size} a page");
    }
}
