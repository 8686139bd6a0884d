//! Where a build comes from: the commit, the branch and the author, as the CI's variables or Git say.

use std::process::{Command, Stdio};

use dropship::deployment::Source;

/// Variables of CI services, the first that is set counts (the pages "Default environment variables" of GitHub Actions,
/// "Predefined variables" of GitLab, and those of `CircleCI`, Bitbucket and `CodeBuild`).
const COMMIT: [&str; 5] =
    ["GITHUB_SHA", "CI_COMMIT_SHA", "CIRCLE_SHA1", "BITBUCKET_COMMIT", "CODEBUILD_RESOLVED_SOURCE_VERSION"];
const BRANCH: [&str; 5] =
    ["GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "CIRCLE_BRANCH", "BITBUCKET_BRANCH"];
const AUTHOR: [&str; 3] = ["GITHUB_ACTOR", "GITLAB_USER_NAME", "CIRCLE_USERNAME"];

/// Returns what is known of the build in the current folder's repository.
pub fn find(message: Option<String>) -> Source {
    let of_ci = |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let of_git = |arguments: &[&str]| git(arguments).unwrap_or_default();
    Source {
        commit: of_ci(&COMMIT).unwrap_or_else(|| of_git(&["rev-parse", "HEAD"])),
        branch: of_ci(&BRANCH).unwrap_or_else(|| of_git(&["symbolic-ref", "--short", "--quiet", "HEAD"])),
        author: of_ci(&AUTHOR).unwrap_or_else(|| of_git(&["log", "-1", "--format=%an"])),
        message: message.unwrap_or_else(|| of_git(&["log", "-1", "--format=%s"])),
        preview: String::new(),
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.trim().to_owned())
}
