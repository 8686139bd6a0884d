//! The settings of a bucket that an operator reads.

/// A bucket's policy, lifecycle rules and notifications. The stand-ins return them, and do nothing by them.
#[derive(Clone, Debug, Default)]
pub struct BucketSettings {
    /// The policy as a JSON document.
    pub policy: Option<String>,
    pub expiries: Vec<Expiry>,
    /// The ARN of a function, and the folder whose uploads start it.
    pub triggers: Vec<(String, String)>,
}

/// A lifecycle rule that is enabled.
#[derive(Clone, Debug, Default)]
pub struct Expiry {
    pub prefix: String,
    /// After how many days an object expires.
    pub days: Option<i32>,
    /// After how many days a noncurrent version is deleted.
    pub noncurrent_days: Option<i32>,
}
