//! The role by which pull requests push previews, and what the role of the protected branch may do with them.

use serde_json::{Value, json};

use super::{matches, texts};
use crate::cloudformation::{ACCOUNT, Template, array, object};

const BUCKET: &str = "arn:aws:s3:::dropship-staging-123456789012-us-east-1";

fn template(parameters: &[(&str, &str)]) -> Template {
    let required = [("CreateSite", "true"), ("GitHubRepository", "example/site"), ("Site", "mine")];
    Template::with(&[parameters, &required].concat())
}

fn with_previews() -> Template {
    template(&[("Previews", "true")])
}

/// Whether a role may do something; `leading_key` is the partition of a call to DynamoDB.
fn may(template: &Template, role: &str, action: &str, resource: &str, leading_key: &str) -> bool {
    let role = template.resource(role);
    let [policy] = &array(&role["Properties"]["Policies"])[..] else { panic!("the role must have one policy") };
    array(&policy["PolicyDocument"]["Statement"]).iter().any(|statement| {
        assert_eq!(statement["Effect"], "Allow");
        let keys = &statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
        let is_own = statement["Condition"] == Value::Null || texts(keys).iter().any(|key| matches(key, leading_key));
        let has_action = texts(&statement["Action"]).iter().any(|allowed| allowed == action);
        is_own && has_action && texts(&statement["Resource"]).iter().any(|pattern| matches(pattern, resource))
    })
}

#[test]
fn a_pull_request_may_push_below_the_folder_of_previews_and_nowhere_else() {
    let template = with_previews();
    let may = |action: &str, resource: &str, key: &str| may(&template, "PreviewPushRole", action, resource, key);
    let object = |key: &str| format!("{BUCKET}/{key}");
    for action in ["s3:PutObject", "s3:AbortMultipartUpload"] {
        assert!(may(action, &object("uploads/previews/pr-7/site.zip"), ""), "{action}");
        assert!(may(action, &object("uploads/previews/pr-7/remove"), ""), "{action}");
        for key in ["uploads/site.zip", "uploads/previews.zip", "plans/a.zip", "plans/previews/a/b.zip", "previews/a"] {
            assert!(!may(action, &object(key), ""), "{action} {key}");
        }
    }
    for action in ["s3:GetObject", "s3:DeleteObject", "s3:ListBucket"] {
        assert!(!may(action, &object("uploads/previews/pr-7/site.zip"), ""), "{action}");
    }
    assert!(!may("s3:PutObject", "arn:aws:s3:::LiveBucket/previews/a/index.html", ""));
    let ledger = format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Ledger");
    for action in ["dynamodb:GetItem", "dynamodb:Query"] {
        assert!(may(action, &ledger, "mine/previews/pr-7"), "{action}");
        assert!(!may(action, &ledger, "mine"), "{action}");
        assert!(!may(action, &ledger, "other/previews/pr-7"), "{action}");
    }
    assert!(!may("dynamodb:PutItem", &ledger, "mine/previews/pr-7"));
    assert!(may("lambda:GetFunctionConfiguration", "arn:of:Function", ""));
    assert!(!may("lambda:InvokeFunction", "arn:of:Function", ""), "that would be the right to roll the live site back");
}

#[test]
fn only_pull_requests_of_the_repository_may_take_the_role() {
    let role = with_previews().resource("PreviewPushRole");
    let statement = &role["Properties"]["AssumeRolePolicyDocument"]["Statement"][0];
    let claims = &object(&statement["Condition"])["StringEquals"];
    assert_eq!(object(&statement["Condition"]).len(), 1);
    assert_eq!(
        *claims,
        json!({
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:example/site:pull_request",
        })
    );
    // The role of the live site is not theirs.
    let live = with_previews().resource("PushRole");
    let live = &live["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"];
    assert_eq!(live["token.actions.githubusercontent.com:sub"], "repo:example/site:ref:refs/heads/main");
    assert!(!template(&[]).has("PreviewPushRole"));
    assert!(!Template::with(&[("CreateSite", "true"), ("Previews", "true")]).has("PreviewPushRole"));
    assert_eq!(with_previews().output("PreviewPushRoleArn"), "arn:of:PreviewPushRole");
}

#[test]
fn the_protected_branch_may_promote() {
    let (with, without) = (with_previews(), template(&[]));
    let preview = format!("{BUCKET}/uploads/previews/pr-7/site.zip");
    for action in ["s3:GetObject", "s3:GetObjectVersion"] {
        assert!(may(&with, "PushRole", action, &preview, ""), "{action}");
        assert!(!may(&with, "PushRole", action, &format!("{BUCKET}/uploads/site.zip"), ""), "{action}");
        assert!(!may(&without, "PushRole", action, &preview, ""), "{action}");
    }
    let ledger = format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Ledger");
    for site in ["mine", "mine/previews/pr-7"] {
        assert!(may(&with, "PushRole", "dynamodb:Query", &ledger, site), "{site}");
    }
    assert!(!may(&without, "PushRole", "dynamodb:Query", &ledger, "mine/previews/pr-7"));
}
