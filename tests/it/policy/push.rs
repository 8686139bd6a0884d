//! The role by which GitHub's workflows push: who may take it, and what it may do.

use regex::Regex;
use serde_json::{Value, json};

use super::{matches, texts};
use crate::cloudformation::{ACCOUNT, Template, array, object};

const BUCKET: &str = "arn:aws:s3:::dropship-staging-123456789012-us-east-1";

fn template(parameters: &[(&str, &str)]) -> Template {
    let required = [("CreateSite", "true"), ("GitHubRepository", "example/site"), ("Site", "mine")];
    Template::with(&[parameters, &required].concat())
}

fn role(parameters: &[(&str, &str)]) -> Value {
    template(parameters).resource("PushRole")["Properties"].clone()
}

/// Whether a token of GitHub's with these claims may take the role. The trust policy may have nothing but exact
/// comparisons of them.
fn trusts(role: &Value, audience: &str, subject: &str) -> bool {
    let [statement] = &array(&role["AssumeRolePolicyDocument"]["Statement"])[..] else {
        panic!("the trust policy must have one statement");
    };
    assert_eq!(object(statement).len(), 4, "{statement}");
    assert_eq!(
        (&statement["Effect"], &statement["Action"]),
        (&json!("Allow"), &json!("sts:AssumeRoleWithWebIdentity"))
    );
    let [(comparison, claims)] = &object(&statement["Condition"]).iter().collect::<Vec<_>>()[..] else {
        panic!("the trust policy must have one comparison");
    };
    assert_eq!(*comparison, "StringEquals");
    let mut given = vec![("aud", audience), ("sub", subject)];
    assert_eq!(object(claims).len(), given.len(), "{claims}");
    given.retain(|(claim, value)| claims[format!("token.actions.githubusercontent.com:{claim}")] != *value);
    given.is_empty()
}

#[test]
fn only_the_repository_and_its_ref_may_take_the_role() {
    let trusts_subject = |role: &Value, subject: &str| trusts(role, "sts.amazonaws.com", subject);
    let main = role(&[]);
    assert!(trusts_subject(&main, "repo:example/site:ref:refs/heads/main"));
    for subject in [
        "repo:example/site:ref:refs/heads/main2",
        "repo:example/site:ref:refs/heads/feature",
        "repo:example/site:ref:refs/tags/main",
        "repo:example/site:pull_request",
        "repo:example/site:environment:main",
        "repo:example/site2:ref:refs/heads/main",
        "repo:other/site:ref:refs/heads/main",
        "repo:example/site",
        "",
    ] {
        assert!(!trusts_subject(&main, subject), "{subject}");
    }
    assert!(!trusts(&main, "https://github.com/example", "repo:example/site:ref:refs/heads/main"));

    let environment = role(&[("GitHubEnvironment", "production")]);
    assert!(trusts_subject(&environment, "repo:example/site:environment:production"));
    assert!(!trusts_subject(&environment, "repo:example/site:ref:refs/heads/main"));
    let immutable = role(&[("GitHubRepository", "example@12/site@34"), ("GitHubRef", "refs/tags/v1")]);
    assert!(trusts_subject(&immutable, "repo:example@12/site@34:ref:refs/tags/v1"));
    assert!(!trusts_subject(&immutable, "repo:example/site:ref:refs/tags/v1"));
}

#[test]
fn no_wildcard_is_accepted_for_a_repository_or_a_ref() {
    let accepts = |parameter: &str, value: &str| {
        let template = Template::with(&[]);
        let parameter = template.parameter(parameter);
        assert!(parameter["ConstraintDescription"].as_str().is_some_and(|words| words.starts_with("must be ")));
        Regex::new(parameter["AllowedPattern"].as_str().unwrap()).unwrap().is_match(value)
    };
    for good in ["", "example/site", "Ex-ample/site.github.io", "example@12/site_1@34"] {
        assert!(accepts("GitHubRepository", good), "{good}");
    }
    for bad in ["*", "example/*", "*/site", "example", "example/site/", "a/b/c", "example/si?e", "repo:example/site"] {
        assert!(!accepts("GitHubRepository", bad), "{bad}");
    }
    for good in ["refs/heads/main", "refs/heads/release/1.2", "refs/tags/v1.0.0"] {
        assert!(accepts("GitHubRef", good), "{good}");
    }
    for bad in ["", "*", "main", "refs/heads/*", "refs/heads/", "refs/pull/1/merge", "environment:production"] {
        assert!(!accepts("GitHubRef", bad), "{bad}");
    }
    for bad in ["pull_request", "refs/heads/ma?n", "ref:refs/heads/main"] {
        assert!(!accepts("GitHubRef", bad), "{bad}");
    }
    assert!(accepts("GitHubEnvironment", "production") && accepts("GitHubEnvironment", ""));
    for bad in ["*", "prod*", "pro?", "a:b"] {
        assert!(!accepts("GitHubEnvironment", bad), "{bad}");
    }
    let provider = |name: &str| format!("arn:aws:iam::{ACCOUNT}:oidc-provider/{name}");
    assert!(accepts("OidcProviderArn", &provider("token.actions.githubusercontent.com")));
    for other in
        ["token.actions.githubusercontent.com.example.com", "tokenXactions.githubusercontent.com", "gitlab.com"]
    {
        assert!(!accepts("OidcProviderArn", &provider(other)), "{other}");
    }
}

#[test]
fn the_stack_makes_the_accounts_provider_unless_it_has_one() {
    let federated = |role: Value| role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"].clone();
    let made = template(&[]);
    assert!(made.has("OidcProvider"));
    let provider = made.resource("OidcProvider");
    assert_eq!(provider["Properties"]["Url"], "https://token.actions.githubusercontent.com");
    assert_eq!(provider["Properties"]["ClientIdList"], json!(["sts.amazonaws.com"]));
    assert_eq!(provider["DeletionPolicy"], "Retain", "other stacks may have come to use it");
    assert_eq!(federated(role(&[])), json!({"Federated": "OidcProvider"}));

    let arn = format!("arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com");
    let known = [("OidcProviderArn", &*arn)];
    assert!(!template(&known).has("OidcProvider"));
    assert_eq!(federated(role(&known)), json!({"Federated": arn}));
    let without_repository = Template::with(&[("CreateSite", "true"), known[0]]);
    assert!(!without_repository.has("PushRole") && !without_repository.has("OidcProvider"));
    assert_eq!(without_repository.broken_rules(), ["Set OidcProviderArn only together with GitHubRepository."]);
}

/// Whether the role may do something; `leading_key` is the partition of a call to DynamoDB.
fn may(action: &str, resource: &str, leading_key: &str) -> bool {
    let role = role(&[]);
    let [policy] = &array(&role["Policies"])[..] else { panic!("the role must have one policy") };
    array(&policy["PolicyDocument"]["Statement"]).iter().any(|statement| {
        assert_eq!(statement["Effect"], "Allow");
        let is_allowed = match &statement["Condition"] {
            Value::Null => true,
            condition => {
                assert_eq!(object(condition).len(), 1, "{condition}");
                let keys = object(&condition["ForAllValues:StringLike"]);
                assert_eq!(keys.len(), 1, "{condition}");
                texts(&keys["dynamodb:LeadingKeys"]).iter().any(|key| matches(key, leading_key))
            }
        };
        is_allowed
            && texts(&statement["Action"]).iter().any(|allowed| {
                assert!(!allowed.contains('*'), "{allowed}");
                allowed == action
            })
            && texts(&statement["Resource"]).iter().any(|pattern| {
                assert_ne!(pattern, "*");
                matches(pattern, resource)
            })
    })
}

#[test]
fn the_role_may_push_and_follow_and_nothing_else() {
    let ledger = format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Ledger");
    for key in ["uploads/site.zip", "plans/a.zip"] {
        for action in ["s3:PutObject", "s3:AbortMultipartUpload"] {
            assert!(may(action, &format!("{BUCKET}/{key}"), ""), "{action} {key}");
        }
        for action in ["s3:GetObject", "s3:DeleteObject", "s3:PutObjectAcl", "s3:GetObjectVersion"] {
            assert!(!may(action, &format!("{BUCKET}/{key}"), ""), "{action} {key}");
        }
    }
    assert!(!may("s3:PutObject", &format!("{BUCKET}/.dropship/mine/manifest"), ""));
    assert!(!may("s3:PutObject", "arn:aws:s3:::LiveBucket/index.html", ""));
    assert!(!may("s3:ListBucket", BUCKET, ""));
    for action in ["dynamodb:GetItem", "dynamodb:Query"] {
        assert!(may(action, &ledger, "mine"), "{action}");
        assert!(!may(action, &ledger, "other"), "{action}");
    }
    for action in ["dynamodb:Scan", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:PartiQLSelect"] {
        assert!(!may(action, &ledger, "mine"), "{action}");
    }
    assert!(may("lambda:GetFunctionConfiguration", "arn:of:Function", ""));
    // The right to invoke the function would be the right to roll back.
    for action in ["lambda:InvokeFunction", "lambda:UpdateFunctionCode", "lambda:GetFunction"] {
        assert!(!may(action, "arn:of:Function", ""), "{action}");
    }
    assert_eq!(template(&[]).output("PushRoleArn"), "arn:of:PushRole");
}
