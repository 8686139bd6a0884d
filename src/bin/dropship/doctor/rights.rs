//! The rights of the function's role.

use dropship::aws::operator::{Missing, Rights};
use dropship::config::Config;
use dropship::key::{OWN_FOLDER, PLANS_FOLDER};

use super::finding::Finding;
use crate::stack::Stack;

const SUBJECT: &str = "function's role";

pub async fn check(stack: &Stack) -> Vec<Finding> {
    let needed = needed(&stack.config, &stack.function.arn, stack.function.dead_letter_queue.as_deref());
    let missing = stack.operator.missing_rights(&stack.function.role_arn, &needed).await;
    super::findings(SUBJECT, missing.map(|missing| judge(&missing)))
}

fn judge(missing: &[Missing]) -> Vec<Finding> {
    let findings = missing.iter().map(|Missing { action, resource }| {
        let fix = "run `sam deploy`, which gives it the right; a boundary or an organisation may also take it away";
        Finding::problem(SUBJECT, format!("it may not do {action} on {resource}"), fix)
    });
    findings.collect()
}

/// Returns the rights without which a deployment fails. The function's ARN names partition, region and account.
fn needed(config: &Config, function_arn: &str, queue_arn: Option<&str>) -> Vec<Rights> {
    let part = |number: usize| function_arn.split(':').nth(number).unwrap_or_default();
    let (partition, region, account) = (part(1), part(3), part(4));
    let Config { staging_bucket, live_bucket, live_prefix, upload_prefix, site, table_name, .. } = config;
    let bucket = |name: &str, key: &str| format!("arn:{partition}:s3:::{name}{key}");
    let rights = |actions: &[&'static str], resource: String| Rights { actions: actions.to_vec(), resource };
    let read = ["s3:GetObject", "s3:GetObjectVersion"];
    let mut needed = vec![
        rights(&read, bucket(staging_bucket, &format!("/{upload_prefix}site.zip"))),
        rights(&read, bucket(staging_bucket, &format!("/{PLANS_FOLDER}site.zip"))),
        rights(
            &["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            bucket(staging_bucket, &format!("/{OWN_FOLDER}{site}/manifest")),
        ),
        rights(&["s3:ListBucket"], bucket(staging_bucket, "")),
        rights(&["s3:ListBucket"], bucket(live_bucket, "")),
        rights(
            &["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            bucket(live_bucket, &format!("/{live_prefix}index.html")),
        ),
        rights(
            &["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"],
            format!("arn:{partition}:dynamodb:{region}:{account}:table/{table_name}"),
        ),
    ];
    needed.extend(queue_arn.map(|arn| rights(&["sqs:SendMessage"], arn.to_owned())));
    needed
        .extend(config.encryption.kms_key().map(|arn| rights(&["kms:GenerateDataKey", "kms:Decrypt"], arn.to_owned())));
    needed.extend(config.distributions.iter().map(|distribution| {
        rights(
            &["cloudfront:CreateInvalidation", "cloudfront:GetDistribution", "cloudfront:GetInvalidation"],
            format!("arn:{partition}:cloudfront::{account}:distribution/{}", distribution.id),
        )
    }));
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::config_with;

    #[test]
    fn every_resource_is_named_in_full() {
        let config = config_with(&[("LIVE_PREFIX", "docs"), ("SITE", "example"), ("DISTRIBUTION_IDS", "E1")]);
        let function = "arn:aws-cn:lambda:cn-north-1:123456789012:function:dropship-prod";
        let resources: Vec<String> =
            needed(&config, function, Some("arn:q")).into_iter().map(|it| it.resource).collect();
        assert_eq!(
            resources,
            [
                "arn:aws-cn:s3:::staging/uploads/site.zip",
                "arn:aws-cn:s3:::staging/plans/site.zip",
                "arn:aws-cn:s3:::staging/.dropship/example/manifest",
                "arn:aws-cn:s3:::staging",
                "arn:aws-cn:s3:::live",
                "arn:aws-cn:s3:::live/docs/index.html",
                "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/ledger",
                "arn:q",
                "arn:aws-cn:cloudfront::123456789012:distribution/E1",
            ]
        );
    }
}
