//! The template's parameters, by which messages name a setting: the stack's owner sets these, and not the variables.

/// Returns the parameters of `template.yaml` that set a variable; none if the template sets it by itself, or not at all.
pub fn parameters(variable: &str) -> Vec<String> {
    let names: &[&str] = match variable {
        "ACCOUNT_ID"
        | "MAX_WRITES_PER_SECOND"
        | "PREVIEW_DISTRIBUTION_ID"
        | "S3_FORCE_PATH_STYLE"
        | "STAGING_BUCKET"
        | "TABLE_NAME" => &[],
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => &["MemorySize"],
        "DISTRIBUTION_IDS" => &["DistributionIds", "OriginPaths"],
        "LIVE_BUCKET" => &["LiveBucketName"],
        "SSE" => &["Sse", "KmsKeyArn"],
        _ => return vec![in_camel_case(variable)],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns a variable as a message names it, such as `LivePrefix (LIVE_PREFIX)`.
pub(super) fn named(variable: &str) -> String {
    let parameters = parameters(variable);
    if parameters.is_empty() { variable.to_owned() } else { format!("{} ({variable})", parameters.join(" or ")) }
}

fn in_camel_case(variable: &str) -> String {
    let capitalised = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{first}{}", rest.to_ascii_lowercase())
    };
    variable.split('_').map(capitalised).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_parameter_and_the_variable() {
        assert_eq!(named("MAX_DELETE_PERCENT"), "MaxDeletePercent (MAX_DELETE_PERCENT)");
        assert_eq!(named("DISTRIBUTION_IDS"), "DistributionIds or OriginPaths (DISTRIBUTION_IDS)");
        assert_eq!(named("STAGING_BUCKET"), "STAGING_BUCKET");
    }
}
