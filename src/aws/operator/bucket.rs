//! The settings of a stack's buckets.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ExpirationStatus, FilterRuleName, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, NoncurrentVersionExpiration,
};
use serde_json::Value;

use super::Operator;
use crate::aws::response::failed;
use crate::error::Error;

/// A lifecycle rule that is enabled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    pub prefix: String,
    /// After how many days an object expires. Where there are versions, it only becomes a noncurrent one.
    pub days: Option<i32>,
    /// After how many days a noncurrent version is deleted.
    pub noncurrent_days: Option<i32>,
}

/// Where a bucket sends its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    pub triggers: Vec<Trigger>,
    /// Whether it sends all of them to EventBridge, whose rules may start a function, too.
    pub has_event_bridge: bool,
}

/// A notification that starts a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    pub function_arn: String,
    /// Such as `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    /// The beginning of the keys that it is for.
    pub prefix: String,
    /// The end of the keys that it is for.
    pub suffix: String,
}

impl Operator {
    /// Returns whether a bucket keeps versions.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn is_versioned(&self, bucket: &str) -> Result<bool, Error> {
        let request = self.s3.get_bucket_versioning().bucket(bucket);
        let answer = request.set_expected_bucket_owner(self.account_id.clone()).send().await;
        let answer = answer.map_err(|error| failed(format!("reading the versioning of {bucket}"), error))?;
        Ok(answer.status == Some(BucketVersioningStatus::Enabled))
    }

    /// Returns a bucket's lifecycle rules that are enabled and delete objects or versions. A rule for objects with tags
    /// is left out: archives have none.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn expiries(&self, bucket: &str) -> Result<Vec<Expiry>, Error> {
        let request = self.s3.get_bucket_lifecycle_configuration().bucket(bucket);
        let rules = match request.set_expected_bucket_owner(self.account_id.clone()).send().await {
            Ok(answer) => answer.rules.unwrap_or_default(),
            Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Vec::new(),
            Err(error) => return Err(failed(format!("reading the lifecycle rules of {bucket}"), error)),
        };
        let enabled = rules.iter().filter(|rule| rule.status == ExpirationStatus::Enabled && !asks_for_tags(rule));
        Ok(enabled.map(expiry).filter(|it| it.days.is_some() || it.noncurrent_days.is_some()).collect())
    }

    /// Returns where a bucket sends its events.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn notifications(&self, bucket: &str) -> Result<Notifications, Error> {
        let request = self.s3.get_bucket_notification_configuration().bucket(bucket);
        let answer = request.set_expected_bucket_owner(self.account_id.clone()).send().await;
        let answer = answer.map_err(|error| failed(format!("reading the notifications of {bucket}"), error))?;
        let has_event_bridge = answer.event_bridge_configuration.is_some();
        let configurations = answer.lambda_function_configurations.unwrap_or_default().into_iter();
        let triggers = configurations.map(|configuration| {
            let rules = configuration.filter.and_then(|filter| filter.key).and_then(|key| key.filter_rules);
            let rules = rules.unwrap_or_default();
            let value = |name: FilterRuleName| {
                // CloudFormation writes `Prefix`, and S3 keeps the spelling.
                let is_named = |given: &FilterRuleName| given.as_str().eq_ignore_ascii_case(name.as_str());
                let rule = rules.iter().find(|rule| rule.name.as_ref().is_some_and(is_named));
                rule.and_then(|rule| rule.value.clone()).unwrap_or_default()
            };
            Trigger {
                prefix: value(FilterRuleName::Prefix),
                suffix: value(FilterRuleName::Suffix),
                events: configuration.events.iter().map(|event| event.as_str().to_owned()).collect(),
                function_arn: configuration.lambda_function_arn,
            }
        });
        Ok(Notifications { triggers: triggers.collect(), has_event_bridge })
    }

    /// Returns a bucket's policy; `None` if it has none.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn policy(&self, bucket: &str) -> Result<Option<Value>, Error> {
        let request = self.s3.get_bucket_policy().bucket(bucket);
        match request.set_expected_bucket_owner(self.account_id.clone()).send().await {
            Ok(answer) => Ok(answer.policy.and_then(|policy| serde_json::from_str(&policy).ok())),
            Err(error) if error.code() == Some("NoSuchBucketPolicy") => Ok(None),
            Err(error) => Err(failed(format!("reading the policy of {bucket}"), error)),
        }
    }
}

fn asks_for_tags(rule: &LifecycleRule) -> bool {
    let filter = rule.filter.as_ref();
    filter.is_some_and(|filter| filter.tag().is_some() || filter.and().is_some_and(|and| !and.tags().is_empty()))
}

fn expiry(rule: &LifecycleRule) -> Expiry {
    #[expect(deprecated, reason = "older rules have a prefix in place of a filter")]
    let old_prefix = rule.prefix.as_deref();
    let filter = rule.filter.as_ref();
    let prefix =
        filter.and_then(|filter| filter.prefix().or_else(|| filter.and().and_then(LifecycleRuleAndOperator::prefix)));
    Expiry {
        prefix: prefix.or(old_prefix).unwrap_or_default().to_owned(),
        days: rule.expiration().and_then(LifecycleExpiration::days),
        noncurrent_days: rule.noncurrent_version_expiration().and_then(NoncurrentVersionExpiration::noncurrent_days),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{LifecycleRuleFilter, Tag};

    use super::*;

    #[test]
    fn a_rule_for_objects_with_tags_is_not_about_archives() {
        let rule = |filter| LifecycleRule::builder().status(ExpirationStatus::Enabled).filter(filter).build().unwrap();
        let tag = Tag::builder().key("temporary").value("yes").build().unwrap();
        let both = LifecycleRuleAndOperator::builder().prefix("uploads/").tags(tag.clone()).build();
        assert!(asks_for_tags(&rule(LifecycleRuleFilter::builder().tag(tag).build())));
        assert!(asks_for_tags(&rule(LifecycleRuleFilter::builder().and(both).build())));
        let large = LifecycleRuleAndOperator::builder().prefix("uploads/").object_size_greater_than(1).build();
        assert!(!asks_for_tags(&rule(LifecycleRuleFilter::builder().and(large).build())));
    }
}
