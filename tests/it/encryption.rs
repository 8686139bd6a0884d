//! Server-side encryption of the live objects.

use standins::{Does, Etags, Fault};

use crate::build::{Files, files, noise};
use crate::stage::{LIVE, STAGING, Stage};

use dropship::report::Outcome;

/// The operations that name the encryption of a live object.
const WRITES: [&str; 3] = ["PutObject", "CopyObject", "CreateMultipartUpload"];

const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn site() -> Files {
    let mut site = files([("index.html", "one"), ("kept.txt", "kept")]);
    site.insert("large.bin".to_owned(), noise(17 << 20, 3));
    site
}

/// Deploys so that each kind of write takes place, and returns the encryption that the writes demand.
async fn demanded(stage: &Stage) -> Vec<Option<String>> {
    // What one request cannot write goes up in parts.
    let refused = Does::refuse(500, "InternalError");
    stage.cloud.fault(Fault { key: Some("large.bin".to_owned()), ..Fault::on("PutObject", refused) });
    stage.deploy("one", &stage.upload("1.zip", &site())).await;
    let mut second = site();
    second.insert("index.html".to_owned(), b"two".to_vec());
    second.insert("_headers".to_owned(), b"/kept.txt\n  Cache-Control: no-cache".to_vec());
    let second = stage.upload("2.zip", &second);
    stage.deploy("two", &second).await;
    let calls = stage.cloud.calls();
    let live = calls.iter().filter(|call| call.bucket.as_deref() == Some(LIVE));
    let writes: Vec<_> = live.filter(|call| WRITES.contains(&call.operation.as_str())).collect();
    for operation in WRITES {
        assert!(writes.iter().any(|call| call.operation == operation), "{operation}");
    }
    let staging = calls.iter().filter(|call| call.bucket.as_deref() == Some(STAGING));
    assert!(staging.clone().all(|call| call.encryption.is_none()), "the staging bucket has an encryption of its own");
    writes.into_iter().map(|call| call.encryption.clone()).collect()
}

/// A bucket's policy may refuse every write that does not demand its encryption (S3 user guide, "Protecting data with
/// server-side encryption").
#[tokio::test]
async fn every_write_of_a_live_object_demands_the_encryption() {
    for (setting, etags) in [("AES256", Etags::Md5), (&format!("aws:kms:{KEY}"), Etags::Opaque)] {
        let stage = Stage::with_etags(etags).await.with("SSE", setting);
        assert!(demanded(&stage).await.iter().all(|it| it.as_deref() == Some(setting)), "{setting}");
    }
    assert!(demanded(&Stage::new().await).await.iter().all(Option::is_none));
}

#[tokio::test]
async fn objects_under_a_key_in_kms_are_not_written_again() {
    let stage = Stage::with_etags(Etags::Opaque).await.with("SSE", &format!("aws:kms:{KEY}"));
    let event = stage.upload("1.zip", &site());
    stage.deploy("one", &event).await;
    for manifest in [true, false] {
        if !manifest {
            stage.manifests().iter().for_each(|key| stage.cloud.delete_object(STAGING, key));
        }
        stage.cloud.clear_calls();
        let again = stage.deploy(if manifest { "two" } else { "three" }, &stage.upload("2.zip", &site())).await;
        assert_eq!(again.outcome, Outcome::Unchanged);
        assert_eq!(stage.writes_to_live(), [""; 0]);
    }
}
