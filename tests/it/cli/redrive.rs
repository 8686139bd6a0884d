//! `dropship redrive`.

use serde_json::json;
use standins::{Does, Fault};

use super::desk::Desk;
use crate::build::files;
use crate::stage::Stage;

fn refuse_invalidations(stage: &Stage) {
    stage
        .cloud
        .fault(Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) });
}

#[tokio::test]
async fn failed_events_are_listed_and_sent_again_unless_a_person_has_to_say_them_anew() {
    let desk = Desk::new().await;
    let said = desk.run(&["redrive"]).await;
    assert_eq!((said.code, said.out.as_str()), (0, "no event has failed\n"));
    for text in ["one", "two"] {
        desk.write(&files([("index.html", text)]));
        assert_eq!(desk.run(&["push", "site"]).await.code, 0);
    }
    refuse_invalidations(&desk.stage);
    desk.write(&files([("index.html", "three")]));
    assert_eq!(desk.run(&["push", "site"]).await.code, 1);
    assert_eq!(desk.run(&["rollback", "previous", "--yes"]).await.code, 1);

    let (_, events) = desk.run_json(&["redrive"]).await;
    let told: Vec<_> = events.as_array().unwrap().iter().map(|event| event["what"].clone()).collect();
    assert_eq!(told, [json!("uploads/site.zip"), json!("a rollback")]);
    assert!(events[0]["reason"].as_str().unwrap().contains("CloudFront has not accepted"), "{events}");

    desk.stage.cloud.clear_faults();
    let (_, events) = desk.run_json(&["redrive", "--send", "1", "2"]).await;
    assert_eq!(events[0]["done"], "sent again");
    assert!(events[1]["done"].as_str().unwrap().contains("\"rollback\""), "{events}");

    let (_, events) = desk.run_json(&["redrive", "--delete", "1"]).await;
    assert_eq!((&events[0]["what"], &events[0]["done"]), (&json!("a rollback"), &json!("deleted")));
    let said = desk.run(&["redrive", "--delete", "1"]).await;
    assert!(said.code == 2 && said.err.contains("there is no event 1"), "{said:?}");
}
