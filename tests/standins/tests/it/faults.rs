//! Faults, latency and the gate.

use std::time::Duration;

use standins::{CLIENT, Does, Fault, Headers, Service};

use crate::account::{account, put, refusal, s3_for};

#[tokio::test]
async fn the_kth_call_fails_and_the_sdk_retries() {
    let (cloud, s3) = account().await;
    cloud.fault(Fault {
        key: Some("*.html".to_owned()),
        first: 2,
        times: 2,
        ..Fault::on("PutObject", Does::refuse(503, "SlowDown"))
    });
    put(&s3, "a.html", "a").await;
    put(&s3, "b.css", "b").await;
    put(&s3, "c.html", "c").await;
    let statuses: Vec<_> = cloud.calls().iter().map(|call| call.status.unwrap()).collect();
    assert_eq!(statuses, [200, 200, 503, 503, 200]);
    assert_eq!(cloud.faults_struck(), 2);

    cloud.fault(Fault::any(Does::refuse(409, "ConditionalRequestConflict")));
    let refused = refusal(s3.put_object().bucket("site").key("k").send().await);
    assert_eq!(refused, ("ConditionalRequestConflict".to_owned(), 409));
    assert!(cloud.object("site", "k").is_none());
    cloud.fault(Fault::on("PutObject", Does::refuse_after(400, "Odd")));
    refusal(s3.put_object().bucket("site").key("k").send().await);
    assert!(cloud.object("site", "k").is_some());
}

#[tokio::test]
async fn a_connection_drops_before_or_after_the_effect() {
    let (cloud, s3) = account().await;
    cloud.fault(Fault::on("PutObject", Does::DropAfter));
    let put = s3.put_object().bucket("site").key("k").if_none_match("*");
    // The SDK retries and finds the object that its first attempt wrote.
    assert_eq!(refusal(put.send().await).1, 412);
    let calls = cloud.calls();
    assert_eq!((calls[0].status, calls[1].status), (None, Some(412)));
    cloud.fault(Fault { times: 3, ..Fault::on("PutObject", Does::DropBefore) });
    s3.put_object().bucket("site").key("l").send().await.unwrap_err();
    assert!(cloud.object("site", "l").is_none());

    cloud.put_object("site", "m", "0123456789", Headers::default());
    cloud.fault(Fault::on("GetObject", Does::Truncate(4)));
    let get = s3.get_object().bucket("site").key("m").send().await.unwrap();
    assert!(get.body.collect().await.is_err());
}

#[tokio::test]
async fn a_dead_client_has_no_further_effects() {
    let (cloud, s3) = account().await;
    let other = s3_for(&cloud, "other").await;
    for (does, remains) in [(Does::DieBefore, false), (Does::DieAfter, true)] {
        cloud.fault(Fault { first: 2, client: Some(CLIENT.to_owned()), ..Fault::any(does) });
        let process = tokio::spawn({
            let s3 = s3.clone();
            async move {
                put(&s3, "first", "1").await;
                put(&s3, "second", "2").await;
            }
        });
        cloud.death(CLIENT).await;
        put(&other, "third", "3").await;
        process.abort();
        assert!(process.await.unwrap_err().is_cancelled());
        assert_eq!(cloud.object("site", "second").is_some(), remains);
        let hung = s3.delete_object().bucket("site").key("first").send();
        tokio::time::timeout(Duration::from_millis(50), hung).await.unwrap_err();
        assert!(cloud.object("site", "first").is_some());
        cloud.revive(CLIENT);
        s3.delete_object().bucket("site").key("second").send().await.unwrap();
    }
}

#[tokio::test]
async fn a_gate_decides_the_order_of_effects() {
    let (cloud, _) = account().await;
    let gate = cloud.gate();
    let mut tasks = tokio::task::JoinSet::new();
    for name in ["one", "two", "three"] {
        let s3 = s3_for(&cloud, name).await;
        tasks.spawn(async move { put(&s3, "k", name).await });
    }
    let waiting = gate.wait_until(|waiting| waiting.len() == 3).await;
    assert!(cloud.calls().is_empty());
    for name in ["two", "one"] {
        let waiting = waiting.iter().find(|waiting| waiting.call.client == name).unwrap();
        assert!(gate.let_through(waiting.ticket).await);
        assert!(!gate.let_through(waiting.ticket).await);
        assert_eq!(cloud.object("site", "k").unwrap().body, name);
    }
    drop(gate);
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(cloud.object("site", "k").unwrap().body, "three");
    let clients: Vec<_> = cloud.calls().into_iter().map(|call| call.client).collect();
    assert_eq!(clients, ["two", "one", "three"]);
}

#[tokio::test]
async fn latency_delays_every_answer() {
    let (cloud, s3) = account().await;
    cloud.set_latency(Service::S3, Duration::from_millis(30));
    let begun = std::time::Instant::now();
    put(&s3, "k", "x").await;
    assert!(begun.elapsed() >= Duration::from_millis(30));
}
