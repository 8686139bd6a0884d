//! How S3 encrypts the live objects.

/// The server-side encryption that every write of a live object demands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Encryption {
    /// The bucket's default.
    #[default]
    OfBucket,
    /// Keys that S3 manages (SSE-S3).
    Aes256,
    /// The key with this ARN, in KMS (SSE-KMS).
    Kms(String),
}

impl Encryption {
    /// Returns the value of `x-amz-server-side-encryption`, if it is sent.
    pub fn algorithm(&self) -> Option<&'static str> {
        match self {
            Self::OfBucket => None,
            Self::Aes256 => Some("AES256"),
            Self::Kms(_) => Some("aws:kms"),
        }
    }

    /// Returns the ARN of the key in KMS.
    pub fn kms_key(&self) -> Option<&str> {
        match self {
            Self::Kms(arn) => Some(arn),
            Self::OfBucket | Self::Aes256 => None,
        }
    }
}

/// The allowed values, for errors.
pub(super) const WORDS: &str = "`AES256`, or `aws:kms:` and the ARN of a key, not of an alias (`aws:kms:arn:aws:kms:\
                                us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab`)";

pub(super) fn parse(value: &str) -> Option<Encryption> {
    match value.strip_prefix("aws:kms:") {
        Some(arn) => is_key_arn(arn).then(|| Encryption::Kms(arn.to_owned())),
        None => (value == "AES256").then_some(Encryption::Aes256),
    }
}

/// Whether this is the ARN of a key (Service Authorization Reference, "Actions, resources, and condition keys for AWS
/// Key Management Service").
fn is_key_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, "kms", region, account, resource] = parts[..] else {
        return false;
    };
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    is_word(partition) && is_word(region) && is_account && resource.strip_prefix("key/").is_some_and(is_word)
}
