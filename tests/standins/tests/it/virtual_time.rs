//! Accounts in this process, whose calls take virtual time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_smithy_runtime_api::client::http::http_client_fn;
use chrono::{DateTime, TimeDelta, Utc};
use standins::{CLIENT, Call, Cloud, Does, Etags, Fault, Headers, Latencies, Latency, Versioning, VirtualClock};
use tokio::time::timeout;

use crate::account::{CloudFront, S3, body, refusal};

const START: &str = "2026-11-22T10:15:00Z";

fn start() -> DateTime<Utc> {
    START.parse().unwrap()
}

pub fn latency(there: u64, back: u64) -> Latencies {
    let latency = Latency { there: Duration::from_millis(there), back: Duration::from_millis(back) };
    Arc::new(move |_, _| latency)
}

/// Returns an account in this process with the bucket `site`, its clock, and a client that retries as in production.
async fn account(latencies: Latencies) -> (Cloud, VirtualClock, S3) {
    let clock = VirtualClock::starting_at(start());
    let cloud = Cloud::in_process(clock.clone(), latencies, "nowhere-1");
    cloud.create_bucket("site", Versioning::On, Etags::Md5);
    let s3 = client(&cloud).await;
    (cloud, clock, s3)
}

/// Returns a client of CloudFront for an account in this process.
pub async fn cloudfront(cloud: &Cloud) -> CloudFront {
    let connector = cloud.connector();
    let sdk = cloud.sdk_config().await.into_builder().http_client(http_client_fn(move |_, _| connector.clone()));
    CloudFront::new(&sdk.build())
}

async fn client(cloud: &Cloud) -> S3 {
    let connector = cloud.connector();
    let sdk = cloud.sdk_config_for(CLIENT).await;
    let config = aws_sdk_s3::config::Builder::from(&sdk)
        .force_path_style(true)
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .retry_config(RetryConfig::standard());
    S3::from_conf(config.build())
}

#[tokio::test(start_paused = true)]
async fn calls_take_the_time_that_the_network_takes() {
    let (cloud, clock, s3) = account(latency(400, 1_600)).await;
    s3.put_object().bucket("site").key("a").body(body("text")).send().await.unwrap();
    assert_eq!(clock.now() - start(), TimeDelta::seconds(2));
    let got = s3.get_object().bucket("site").key("a").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), "text");
    assert_eq!(clock.now() - start(), TimeDelta::seconds(4));
    assert_eq!(cloud.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn objects_carry_the_virtual_time_in_whole_seconds() {
    let (cloud, clock, _) = account(latency(1, 1)).await;
    clock.turn_in(Duration::from_millis(3_700), 0).await;
    let object = cloud.put_object("site", "a", "text", Headers::default());
    assert_eq!(DateTime::<Utc>::from(object.modified), start() + TimeDelta::seconds(3));
}

#[tokio::test(start_paused = true)]
async fn pauses_between_attempts_are_virtual() {
    let (cloud, clock, s3) = account(latency(5, 5)).await;
    let does = Does::refuse(503, "SlowDown");
    cloud.fault(Fault { times: usize::MAX, ..Fault::on("GetObject", does) });
    let began = std::time::Instant::now();
    let result = s3.get_object().bucket("site").key("a").send().await;
    assert_eq!(refusal(result).1, 503);
    assert_eq!(cloud.calls().len(), 3);
    assert!(clock.now() - start() > TimeDelta::milliseconds(30), "{}", clock.now());
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_effect_although_its_client_is_gone() {
    let (cloud, clock, s3) = account(latency(1_000, 1_000)).await;
    let put = s3.put_object().bucket("site").key("a").body(body("text")).send();
    timeout(Duration::from_millis(500), put).await.unwrap_err();
    assert!(cloud.object("site", "a").is_none());
    clock.turn_in(Duration::from_millis(600), 0).await;
    assert!(cloud.object("site", "a").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_call_on_the_way_of_a_client_that_was_killed_is_lost() {
    let (cloud, clock, s3) = account(latency(1_000, 1_000)).await;
    let put = s3.put_object().bucket("site").key("a").body(body("text")).send();
    timeout(Duration::from_millis(500), put).await.unwrap_err();
    cloud.kill(CLIENT);
    clock.turn_in(Duration::from_secs(10), 0).await;
    assert!(cloud.object("site", "a").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_thirty_seconds_for_an_answer() {
    let (cloud, clock, s3) = account(latency(1, 40_000)).await;
    let error = s3.put_object().bucket("site").key("a").body(body("text")).send().await.unwrap_err();
    assert!(error.as_service_error().is_none(), "{error:?}");
    assert!(clock.now() - start() >= TimeDelta::seconds(30));
    assert!(cloud.object("site", "a").is_some(), "the call has taken effect");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_an_error() {
    let (cloud, _, s3) = account(latency(1, 1)).await;
    cloud.put_object("site", "a", "text", Headers::default());
    cloud.fault(Fault::on("GetObject", Does::Truncate(2)));
    let got = s3.get_object().bucket("site").key("a").send().await.unwrap();
    got.body.collect().await.unwrap_err();
    cloud.fault(Fault::on("GetObject", Does::DropAfter));
    let got = s3.get_object().bucket("site").key("a").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), "text", "the SDK asks again");
}

#[tokio::test(start_paused = true)]
async fn turns_of_one_time_go_by_their_order_and_each_has_its_own_millisecond() {
    for arrival in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
        let clock = VirtualClock::starting_at(start());
        let taken = Mutex::new(Vec::new());
        let at = start() + TimeDelta::milliseconds(10);
        let turn = async |order: u64| {
            clock.turn(at, order).await;
            taken.lock().unwrap().push((order, (clock.now() - start()).num_milliseconds()));
        };
        tokio::join!(turn(arrival[0]), turn(arrival[1]), turn(arrival[2]));
        assert_eq!(*taken.lock().unwrap(), [(1, 10), (2, 11), (3, 12)], "{arrival:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_nobody_waits_for_any_more_holds_up_no_other() {
    let clock = VirtualClock::starting_at(start());
    let at = start() + TimeDelta::milliseconds(10);
    timeout(Duration::from_millis(5), clock.turn(at, 1)).await.unwrap_err();
    clock.turn(at, 2).await;
    assert_eq!(clock.now(), at);
}

#[tokio::test(start_paused = true)]
async fn latencies_depend_on_the_call_and_not_on_the_order_of_calls() {
    let mut seen = Vec::new();
    for keys in [["a", "b"], ["b", "a"]] {
        let numbers = Arc::new(Mutex::new(Vec::new()));
        let noted = numbers.clone();
        let latencies: Latencies = Arc::new(move |call: &Call, number| {
            noted.lock().unwrap().push((call.key.clone(), number));
            Latency { there: Duration::from_millis(1), back: Duration::from_millis(1) }
        });
        let (_cloud, _, s3) = account(latencies).await;
        for key in [keys[0], keys[1], "a"] {
            s3.put_object().bucket("site").key(key).body(body("text")).send().await.unwrap();
        }
        let mut numbers = std::mem::take(&mut *numbers.lock().unwrap());
        numbers.sort();
        numbers.dedup();
        assert_eq!(numbers.len(), 3, "two calls for one key are told apart");
        seen.push(numbers);
    }
    assert_eq!(seen[0], seen[1]);
}
