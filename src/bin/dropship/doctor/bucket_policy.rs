//! Reads a bucket's policy: whether it lets someone read the site.

use serde_json::Value;

/// Someone who reads objects.
#[derive(Clone, Copy, Debug)]
pub enum Reader<'a> {
    /// CloudFront, for the distribution with this ARN, through origin access control.
    Distribution(&'a str),
    /// An origin access identity.
    Identity,
    /// Anyone, without a signature.
    Anyone,
}

/// Whether a policy lets a reader get an object. Conditions that depend on the request, such as one on the viewer's
/// address, are taken to hold for an `Allow`, and not to hold for a `Deny`.
pub fn admits(policy: Option<&Value>, reader: Reader<'_>, object_arn: &str) -> bool {
    let Some(policy) = policy else {
        return false;
    };
    let statements = match &policy["Statement"] {
        Value::Array(statements) => statements.iter().collect(),
        statement => vec![statement],
    };
    let is_about =
        |statement: &Value| covers(statement, "Action", "s3:GetObject") && covers(statement, "Resource", object_arn);
    let about = |effect: &'static str| {
        statements.iter().filter(move |statement| statement["Effect"] == effect).filter(|statement| is_about(statement))
    };
    let is_denied = about("Deny").any(|statement| names_anyone(statement) && statement["Condition"].is_null());
    let is_allowed = about("Allow").any(|statement| names(statement, reader) && holds(statement, reader));
    is_allowed && !is_denied
}

/// Whether a statement's `Action` or `Resource` covers a value. `NotAction` and `NotResource` list exceptions instead.
fn covers(statement: &Value, list: &str, value: &str) -> bool {
    let (patterns, exceptions) = (texts(&statement[list]), texts(&statement[format!("Not{list}")]));
    // The names of actions have no case (IAM User Guide, "Action").
    let folded = |text: &str| if list == "Action" { text.to_ascii_lowercase() } else { text.to_owned() };
    let has = |patterns: &[&str]| patterns.iter().any(|pattern| matches(&folded(pattern), &folded(value)));
    if patterns.is_empty() { !has(&exceptions) } else { has(&patterns) }
}

fn names_anyone(statement: &Value) -> bool {
    statement["Principal"] == "*" || texts(&statement["Principal"]["AWS"]).contains(&"*")
}

fn names(statement: &Value, reader: Reader<'_>) -> bool {
    let principal = &statement["Principal"];
    names_anyone(statement)
        || match reader {
            Reader::Distribution(_) => texts(&principal["Service"]).contains(&"cloudfront.amazonaws.com"),
            Reader::Identity => {
                let is_identity = |text: &&str| text.contains("CloudFront Origin Access Identity");
                !texts(&principal["CanonicalUser"]).is_empty() || texts(&principal["AWS"]).iter().any(is_identity)
            }
            Reader::Anyone => false,
        }
}

/// Whether a statement's conditions on the distribution hold.
fn holds(statement: &Value, reader: Reader<'_>) -> bool {
    let Reader::Distribution(arn) = reader else {
        return true;
    };
    statement["Condition"].as_object().into_iter().flatten().all(|(operator, conditions)| {
        // `ArnEquals` takes wildcards as `ArnLike` does; `StringEquals` takes none (IAM User Guide, "Condition operators").
        let is_exact = operator.to_ascii_lowercase().starts_with("stringequals");
        let holds = |pattern: &str| if is_exact { pattern == arn } else { matches(pattern, arn) };
        conditions
            .as_object()
            .into_iter()
            .flatten()
            .all(|(key, values)| !key.eq_ignore_ascii_case("aws:SourceArn") || texts(values).into_iter().any(holds))
    })
}

/// Returns the texts of a value that is one text or a list of them.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

/// Whether a text matches a pattern in which `*` stands for any characters, and `?` for one (IAM User Guide, "Using
/// wildcards in resource ARNs").
fn matches(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else {
        return text.is_empty();
    };
    let rest = &pattern[first.len_utf8()..];
    match first {
        '*' => text.char_indices().any(|(at, _)| matches(rest, &text[at..])) || matches(rest, ""),
        _ => text
            .chars()
            .next()
            .is_some_and(|next| (first == '?' || first == next) && matches(rest, &text[next.len_utf8()..])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DISTRIBUTION: Reader<'_> = Reader::Distribution("arn:aws:cloudfront::123456789012:distribution/E1");
    const OBJECT: &str = "arn:aws:s3:::live/docs/index.html";

    fn allow(principal: Value, resource: &str, condition: Value) -> Value {
        let statement =
            json!({"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": resource});
        let mut statement = statement;
        if !condition.is_null() {
            statement["Condition"] = condition;
        }
        json!({"Statement": [statement]})
    }

    #[test]
    fn the_template_s_statement_admits_its_distributions_alone() {
        let source = json!({"ArnLike": {"AWS:SourceArn": ["arn:*:cloudfront::*:distribution/E1"]}});
        let policy = allow(json!({"Service": "cloudfront.amazonaws.com"}), "arn:aws:s3:::live/*", source);
        assert!(admits(Some(&policy), DISTRIBUTION, OBJECT));
        let other = Reader::Distribution("arn:aws:cloudfront::123456789012:distribution/E2");
        assert!(!admits(Some(&policy), other, OBJECT));
        assert!(!admits(Some(&policy), Reader::Anyone, OBJECT));
        assert!(!admits(Some(&policy), DISTRIBUTION, "arn:aws:s3:::other/index.html"));
        assert!(!admits(None, DISTRIBUTION, OBJECT));
    }

    #[test]
    fn wildcards_need_an_operator_that_knows_them() {
        for (operator, admitted) in [("StringEquals", false), ("StringLike", true), ("ArnEquals", true)] {
            let source = json!({operator: {"AWS:SourceArn": "arn:aws:cloudfront::123456789012:distribution/*"}});
            let policy = allow(json!({"Service": "cloudfront.amazonaws.com"}), "arn:aws:s3:::live/*", source);
            assert_eq!(admits(Some(&policy), DISTRIBUTION, OBJECT), admitted, "{operator}");
        }
    }

    #[test]
    fn a_statement_that_lists_exceptions_is_not_about_them() {
        let mut policy = allow(json!("*"), "arn:aws:s3:::live/*", Value::Null);
        for (list, exception, admitted) in [
            ("NotAction", "s3:Get*", true),
            ("NotAction", "s3:PutObject", false),
            ("NotResource", "arn:aws:s3:::live/docs/*", true),
            ("NotResource", "arn:aws:s3:::live/blog/*", false),
        ] {
            let other = if list == "NotAction" { "Resource" } else { "Action" };
            let deny = json!({"Effect": "Deny", "Principal": "*", list: exception, other: "*"});
            policy["Statement"] = json!([policy["Statement"][0], deny]);
            assert_eq!(admits(Some(&policy), Reader::Anyone, OBJECT), admitted, "{list} {exception}");
        }
    }

    #[test]
    fn a_statement_for_another_folder_does_not_admit() {
        let policy = allow(json!({"Service": ["cloudfront.amazonaws.com"]}), "arn:aws:s3:::live/blog/*", Value::Null);
        assert!(!admits(Some(&policy), DISTRIBUTION, OBJECT));
    }

    #[test]
    fn a_public_bucket_admits_everyone_unless_everyone_is_denied() {
        let mut policy = allow(json!("*"), "arn:aws:s3:::live/*", Value::Null);
        for reader in [DISTRIBUTION, Reader::Anyone, Reader::Identity] {
            assert!(admits(Some(&policy), reader, OBJECT));
        }
        let tls = json!({"Bool": {"aws:SecureTransport": false}});
        let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*", "Condition": tls});
        policy["Statement"].as_array_mut().unwrap().push(deny);
        assert!(admits(Some(&policy), Reader::Anyone, OBJECT));
        policy["Statement"][1].as_object_mut().unwrap().remove("Condition");
        assert!(!admits(Some(&policy), Reader::Anyone, OBJECT));
    }

    #[test]
    fn an_identity_is_named_by_its_user_or_its_arn() {
        let arn = "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1";
        for principal in [json!({"AWS": arn}), json!({"CanonicalUser": "79a5"})] {
            let policy = allow(principal, "arn:aws:s3:::live/*", Value::Null);
            assert!(admits(Some(&policy), Reader::Identity, OBJECT));
            assert!(!admits(Some(&policy), DISTRIBUTION, OBJECT));
        }
    }

    #[test]
    fn wildcards_stand_for_characters() {
        for (pattern, text) in [("s3:*", "s3:GetObject"), ("*", ""), ("a?c*", "abc"), ("*b*d", "abcd"), ("ä*", "äb")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("s3:Put*", "s3:GetObject"), ("?", ""), ("a", "ab"), ("*b", "abc")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
