use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use insta::{assert_debug_snapshot, assert_snapshot};

use super::*;
use crate::archive::LeftOut;

/// Reads the required variables, overridden by these.
fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let mut all =
        BTreeMap::from([("STAGING_BUCKET", "staging"), ("LIVE_BUCKET", "live"), ("TABLE_NAME", "deployments")]);
    all.extend(variables.iter().copied());
    Config::from_variables(|name| all.get(name).map(|value| (*value).to_owned()))
}

fn with(variable: &str, value: &str) -> Config {
    config(&[(variable, value)]).unwrap()
}

/// Returns the errors, one per line.
fn errors(variables: &[(&str, &str)]) -> String {
    let ConfigErrors(errors) = config(variables).unwrap_err();
    errors.iter().map(|error| format!("{error}\n")).collect()
}

/// Asserts that the error for each of these values names the variable and the value.
fn assert_refused(variable: &str, values: &[&str]) {
    for value in values {
        let errors = config(&[(variable, value)]).expect_err(value).to_string();
        assert!(errors.contains(variable) && errors.contains(value), "{errors}");
    }
}

#[test]
fn three_variables_are_enough() {
    assert_debug_snapshot!(config(&[]).unwrap(), @r#"
    Config {
        staging_bucket: "staging",
        live_bucket: "live",
        table_name: "deployments",
        live_prefix: "",
        upload_prefix: "uploads/",
        distributions: [],
        site: "live",
        archive_root: None,
        exclude: Exclude(
            [
                ".git/",
                ".hg/",
                ".svn/",
                ".env",
                ".env.*",
            ],
        ),
        entry_points: EntryPoints(
            [
                "sw.js",
                "service-worker.js",
                "*-sw.js",
                "*.sw.js",
                "*-service-worker.js",
                "*[Ss]ervice[Ww]orker.js",
                "*service_worker.js",
                "*.service.worker.js",
                "ngsw.json",
                "ngsw-worker.js",
                "safety-worker.js",
                "service-worker-assets.js",
                "OneSignalSDKWorker.js",
                "OneSignalSDKUpdaterWorker.js",
                "version.json",
                "**/builds/latest.json",
                "**/page-data/app-data.json",
                "hashmap.json",
                "web_version_by_plugin.json",
                "remoteEntry.js",
                "mf-manifest.json",
            ],
        ),
        account_id: None,
        prune: All,
        max_delete_percent: 90,
        retain_removed_days: 0,
        max_invalidation_paths: 200,
        clean_urls: false,
        index_document: "index.html",
        wait_for_invalidation: false,
        history_days: 365,
        max_entries: 1000000,
        max_archive_bytes: 21474836480,
        max_ratio: 1000,
        cache_control: CacheControl {
            pages: "public, max-age=0, must-revalidate",
            assets: "public, max-age=0, must-revalidate",
        },
        encryption: OfBucket,
        gzip: false,
        s3_force_path_style: false,
        max_writes_per_second: 3500,
        memory_mib: 512,
        previews: None,
        preview: None,
    }
    "#);
}

#[test]
fn every_variable_has_an_effect() {
    let config = config(&[
        ("ACCOUNT_ID", "123456789012"),
        ("ARCHIVE_ROOT", "dist"),
        ("CACHE_CONTROL_ASSETS", "public, max-age=31536000, immutable"),
        ("CACHE_CONTROL_PAGES", "no-cache"),
        ("CLEAN_URLS", "True"),
        ("DISTRIBUTION_IDS", "E1EXAMPLE, E2EXAMPLE=/docs,E3EXAMPLE=/,"),
        ("EXCLUDE", "*.map, !.env.example"),
        ("GZIP", "true"),
        ("HISTORY_DAYS", "30"),
        ("INDEX_DOCUMENT", "home.htm"),
        ("LAST", "/latest.json, !version.json"),
        ("LIVE_PREFIX", "docs/v2"),
        ("MAX_ARCHIVE_BYTES", "1000"),
        ("MAX_DELETE_PERCENT", "10"),
        ("MAX_ENTRIES", "20"),
        ("MAX_INVALIDATION_PATHS", "30"),
        ("MAX_RATIO", "40"),
        ("MAX_WRITES_PER_SECOND", "100"),
        ("PREVIEWS", "true"),
        ("PREVIEW_DAYS", "3"),
        ("PREVIEW_DISTRIBUTION_ID", "E9EXAMPLE"),
        ("PREVIEW_DOMAIN", "preview.example.com"),
        ("PRUNE", "Owned"),
        ("RETAIN_REMOVED_DAYS", "7"),
        ("SSE", "AES256"),
        ("S3_FORCE_PATH_STYLE", "true"),
        ("SITE", "docs"),
        ("UPLOAD_PREFIX", "builds/"),
        ("WAIT_FOR_INVALIDATION", "TRUE"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
    ]);
    assert_debug_snapshot!(config.unwrap(), @r#"
    Config {
        staging_bucket: "staging",
        live_bucket: "live",
        table_name: "deployments",
        live_prefix: "docs/v2/",
        upload_prefix: "builds/",
        distributions: [
            DistributionConfig {
                id: "E1EXAMPLE",
                origin_path: None,
            },
            DistributionConfig {
                id: "E2EXAMPLE",
                origin_path: Some(
                    "/docs",
                ),
            },
            DistributionConfig {
                id: "E3EXAMPLE",
                origin_path: Some(
                    "",
                ),
            },
        ],
        site: "docs",
        archive_root: Some(
            "dist/",
        ),
        exclude: Exclude(
            [
                ".git/",
                ".hg/",
                ".svn/",
                ".env",
                ".env.*",
                "*.map",
                "!.env.example",
            ],
        ),
        entry_points: EntryPoints(
            [
                "sw.js",
                "service-worker.js",
                "*-sw.js",
                "*.sw.js",
                "*-service-worker.js",
                "*[Ss]ervice[Ww]orker.js",
                "*service_worker.js",
                "*.service.worker.js",
                "ngsw.json",
                "ngsw-worker.js",
                "safety-worker.js",
                "service-worker-assets.js",
                "OneSignalSDKWorker.js",
                "OneSignalSDKUpdaterWorker.js",
                "version.json",
                "**/builds/latest.json",
                "**/page-data/app-data.json",
                "hashmap.json",
                "web_version_by_plugin.json",
                "remoteEntry.js",
                "mf-manifest.json",
                "/latest.json",
                "!version.json",
            ],
        ),
        account_id: Some(
            "123456789012",
        ),
        prune: Owned,
        max_delete_percent: 10,
        retain_removed_days: 7,
        max_invalidation_paths: 30,
        clean_urls: true,
        index_document: "home.htm",
        wait_for_invalidation: true,
        history_days: 30,
        max_entries: 20,
        max_archive_bytes: 1000,
        max_ratio: 40,
        cache_control: CacheControl {
            pages: "no-cache",
            assets: "public, max-age=31536000, immutable",
        },
        encryption: Aes256,
        gzip: true,
        s3_force_path_style: true,
        max_writes_per_second: 100,
        memory_mib: 1769,
        previews: Some(
            Previews {
                days: 3,
                distribution: Some(
                    "E9EXAMPLE",
                ),
                domain: Some(
                    "preview.example.com",
                ),
            },
        ),
        preview: None,
    }
    "#);
}

#[test]
fn the_variables_read_are_those_listed() {
    let asked = RefCell::new(BTreeSet::new());
    let _ = Config::from_variables(|name| {
        asked.borrow_mut().insert(name.to_owned());
        None
    });
    let mut listed: BTreeSet<String> = VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(listed.len(), VARIABLES.len());
    listed.insert("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".to_owned());
    assert_eq!(asked.into_inner(), listed);
}

#[test]
fn an_empty_variable_is_unset() {
    let unset = config(&[]).unwrap();
    for variable in VARIABLES {
        if ["STAGING_BUCKET", "LIVE_BUCKET", "TABLE_NAME"].contains(variable) {
            let message = errors(&[(variable, " ")]);
            assert!(message.starts_with(&format!("{} is not set; ", parameter::named(variable))), "{message}");
        } else {
            assert_eq!(with(variable, ""), unset, "{variable}");
            assert_eq!(with(variable, " \n"), unset, "{variable}");
        }
    }
}

#[test]
fn all_errors_are_reported_together() {
    let errors = errors(&[
        ("STAGING_BUCKET", "s3://staging"),
        ("LIVE_BUCKET", ""),
        ("TABLE_NAME", "a table"),
        ("LIVE_PREFIX", "/docs"),
        ("DISTRIBUTION_IDS", "d111111abcdef8.cloudfront.net,E1EXAMPLE=docs"),
        ("SITE", "docs/"),
        ("ARCHIVE_ROOT", "./dist"),
        ("EXCLUDE", "*.map,drafts/[a"),
        ("LAST", "latest.json,!"),
        ("ACCOUNT_ID", "1234"),
        ("PRUNE", "yes"),
        ("MAX_DELETE_PERCENT", "101"),
        ("HISTORY_DAYS", "0"),
        ("CLEAN_URLS", "1"),
        ("INDEX_DOCUMENT", "docs/index.html"),
        ("CACHE_CONTROL_PAGES", "max-age: 300"),
    ]);
    assert_snapshot!(errors, @r"
    STAGING_BUCKET is `s3://staging`; it must be the name of a general purpose bucket (3 to 63 lower-case letters, digits, dots and hyphens, without `s3://` and without a path)
    LiveBucketName (LIVE_BUCKET) is not set; set it to the name of a general purpose bucket (3 to 63 lower-case letters, digits, dots and hyphens, without `s3://` and without a path)
    TABLE_NAME is `a table`; it must be the name of a DynamoDB table (3 to 255 letters, digits, `_`, `-` and `.`)
    LivePrefix (LIVE_PREFIX) is `/docs`; it must be a folder such as `docs` or `docs/v2/`, without a leading slash, `//`, `.`, `..`, backslashes or control characters, of at most 512 bytes
    DistributionIds or OriginPaths (DISTRIBUTION_IDS) is `d111111abcdef8.cloudfront.net`; it must be a list of distribution ids separated by commas, each with its origin path if that cannot be read from the distribution (`E1EXAMPLE,E2EXAMPLE=/docs`)
    DistributionIds or OriginPaths (DISTRIBUTION_IDS) is `E1EXAMPLE=docs`; it must be a list of distribution ids separated by commas, each with its origin path if that cannot be read from the distribution (`E1EXAMPLE,E2EXAMPLE=/docs`)
    Site (SITE) is `docs/`; it must be a name without a slash at either end, `//`, `.`, `..`, backslashes or control characters, of at most 512 bytes
    ArchiveRoot (ARCHIVE_ROOT) is `./dist`; it must be `.` for the whole archive, or a folder such as `docs` or `docs/v2/`, without a leading slash, `//`, `.`, `..`, backslashes or control characters, of at most 512 bytes
    Exclude (EXCLUDE): the pattern `drafts/[a`: unclosed character class; missing ']'; correct it, as in `*.map,/drafts/` (the syntax of `.gitignore`, with commas)
    Last (LAST): the pattern `!`: it names no file; correct it, as in `*.map,/drafts/` (the syntax of `.gitignore`, with commas)
    ACCOUNT_ID is `1234`; it must be 12 digits
    Prune (PRUNE) is `yes`; it must be `all`, `owned` or `off`
    MaxDeletePercent (MAX_DELETE_PERCENT) is `101`; it must be a whole number from 0 to 100
    CleanUrls (CLEAN_URLS) is `1`; it must be `true` or `false`
    IndexDocument (INDEX_DOCUMENT) is `docs/index.html`; it must be the name of a file, such as `index.html`, without `/`, backslashes or control characters, of at most 512 bytes
    HistoryDays (HISTORY_DAYS) is `0`; it must be a whole number from 1 to 3650
    CacheControlPages (CACHE_CONTROL_PAGES) is `max-age: 300`; it must be a list of Cache-Control directives separated by commas (`public, max-age=300`)
    ");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let errors = errors(&[
        ("STAGING_BUCKET", "site"),
        ("LIVE_BUCKET", "site"),
        ("LIVE_PREFIX", "docs"),
        ("DISTRIBUTION_IDS", "E1EXAMPLE,E2EXAMPLE=/blog,E1EXAMPLE=/docs"),
    ]);
    assert_snapshot!(errors, @r"
    OriginPaths (in DISTRIBUTION_IDS) has `E2EXAMPLE=/blog`, but LivePrefix (LIVE_PREFIX) is `docs/`, and that origin path reaches nothing under it; correct one of them
    DistributionIds or OriginPaths (DISTRIBUTION_IDS) lists `E1EXAMPLE` more than once; name each distribution once
    LiveBucketName (LIVE_BUCKET) and STAGING_BUCKET are both `site`; give the site a bucket of its own, otherwise each deployment deletes archives and starts the next deployment
    ");
}

#[test]
fn a_bucket_name_follows_s3s_rules() {
    for name in ["a.b-c", "abc", "1a2", &"a".repeat(63)] {
        assert_eq!(with("LIVE_BUCKET", name).live_bucket, name);
    }
    let refused =
        ["ab", "Live", "a_b", "-ab", "ab-", "a..b", "192.0.2.1", "a/b", "arn:aws:s3:::live", "a--use1-az4--x-s3"];
    assert_refused("LIVE_BUCKET", &refused);
    assert_refused("STAGING_BUCKET", &refused);
    assert_refused("LIVE_BUCKET", &[&"a".repeat(64)]);
}

#[test]
fn a_folder_gets_a_slash_at_its_end() {
    for variable in ["LIVE_PREFIX", "ARCHIVE_ROOT"] {
        let folder = |value| {
            let config = with(variable, value);
            match variable {
                "LIVE_PREFIX" => config.live_prefix,
                _ => config.archive_root.unwrap(),
            }
        };
        assert_eq!(folder("docs"), "docs/");
        assert_eq!(folder("docs/v2/"), "docs/v2/");
        assert_eq!(folder("größe ..a/.b"), "größe ..a/.b/");
        assert_refused(variable, &["/", "/docs", "docs//", "a//b", "..", "a/../b", "./a", "a/.", "a\\b", "a\u{7}b"]);
        assert_refused(variable, &[&"a".repeat(513)]);
    }
    for value in [".", "./"] {
        assert_eq!(with("ARCHIVE_ROOT", value).archive_root.as_deref(), Some(""), "the whole archive is meant");
        assert_refused("LIVE_PREFIX", &[value]);
    }
}

#[test]
fn a_site_is_named_after_its_bucket_and_prefix() {
    assert_eq!(config(&[]).unwrap().site, "live");
    assert_eq!(with("LIVE_PREFIX", "docs/v2/").site, "live/docs/v2");
    assert_eq!(with("SITE", "team/docs").site, "team/docs");
    assert_refused("SITE", &["/docs", "docs/", "a//b", "../a"]);
}

#[test]
fn an_index_document_is_a_plain_file_name() {
    assert_eq!(with("INDEX_DOCUMENT", " default.htm ").index_document, "default.htm");
    assert_refused("INDEX_DOCUMENT", &["/index.html", "docs/", "a/b", "..", ".", "a\\b", "a\u{7}b", &"a".repeat(513)]);
}

#[test]
fn a_distribution_may_state_its_origin_path() {
    let origin_path = |value| with("DISTRIBUTION_IDS", value).distributions[0].origin_path.clone();
    assert_eq!(origin_path("E1EXAMPLE"), None);
    assert_eq!(origin_path("E1EXAMPLE="), Some(String::new()));
    assert_eq!(origin_path("E1EXAMPLE=/"), Some(String::new()));
    assert_eq!(origin_path("E1EXAMPLE=/a/b"), Some("/a/b".to_owned()));
    assert_eq!(origin_path("E1EXAMPLE = /a/"), Some("/a".to_owned()));
    assert_refused(
        "DISTRIBUTION_IDS",
        &["E", "e1example", "E1-2", "1EXAMPLE", "E1EXAMPLE=a", "E1EXAMPLE=//", "E1EXAMPLE=/a/../b", "=/a"],
    );
}

#[test]
fn an_origin_path_contains_the_live_prefix_or_lies_in_it() {
    let with_both = |live_prefix, origin_path: &str| {
        let id = format!("E1EXAMPLE={origin_path}");
        config(&[("LIVE_PREFIX", live_prefix), ("DISTRIBUTION_IDS", &id)])
    };
    for (live_prefix, origin_path) in [("", ""), ("", "/a"), ("a", ""), ("a", "/a"), ("a", "/a/b"), ("a/b", "/a")] {
        assert!(with_both(live_prefix, origin_path).is_ok(), "{live_prefix} {origin_path}");
    }
    for (live_prefix, origin_path) in [("a", "/b"), ("ab", "/a"), ("a", "/ab"), ("a/b", "/a/c")] {
        assert!(with_both(live_prefix, origin_path).is_err(), "{live_prefix} {origin_path}");
    }
}

#[test]
fn a_number_may_be_either_end_of_its_range() {
    for (variable, smallest, largest) in [
        ("MAX_DELETE_PERCENT", "0", "100"),
        ("RETAIN_REMOVED_DAYS", "0", "3650"),
        ("MAX_INVALIDATION_PATHS", "1", "3000"),
        ("HISTORY_DAYS", "1", "3650"),
        ("MAX_ENTRIES", "1", "10000000"),
        ("MAX_ARCHIVE_BYTES", "1", "5497558138880"),
        ("MAX_RATIO", "1", "1000000"),
    ] {
        with(variable, smallest);
        with(variable, largest);
        let beyond = (largest.parse::<u64>().unwrap() + 1).to_string();
        assert_refused(variable, &[&beyond, "-1", "1.5", "many", "99999999999999999999"]);
        if smallest == "1" {
            assert_refused(variable, &["0"]);
        }
    }
}

#[test]
fn shared_caches_keep_objects_only_if_a_distribution_is_invalidated() {
    let without = config(&[]).unwrap().cache_control;
    let with = with("DISTRIBUTION_IDS", "E1EXAMPLE").cache_control;
    assert!(!without.pages.contains("s-maxage") && !without.assets.contains("s-maxage"));
    assert!(with.pages.contains("s-maxage=86400") && with.assets.contains("s-maxage=86400"));
}

#[test]
fn a_cache_control_is_a_list_of_directives() {
    for value in ["no-store", "public,max-age=1", "max-age=\"1\", stale-while-revalidate=60"] {
        assert_eq!(with("CACHE_CONTROL_ASSETS", value).cache_control.assets, value);
    }
    assert_refused(
        "CACHE_CONTROL_ASSETS",
        &["max-age: 1", "max-age=1 day", "public,,private", "a=", "größe", "a\r\nb: c"],
    );
}

#[test]
fn private_files_are_left_out_at_any_depth_unless_the_setting_brings_them_back() {
    let default = config(&[]).unwrap().exclude;
    for name in [".git/config", "a/.git/HEAD", ".hg/a", ".svn/a/b", ".env", "a/.env", ".env.production"] {
        assert_eq!(default.left_out(name), Some(LeftOut::AsPrivate), "{name}");
    }
    for name in ["index.html", ".gitignore", "git/a", "a.env", ".environment", ".well-known/security.txt", "app.js.map"]
    {
        assert_eq!(default.left_out(name), None, "{name}");
    }
    let given = with("EXCLUDE", "*.map, !.env.example\n!.hg/").exclude;
    assert_eq!(given.left_out("a/app.js.map"), Some(LeftOut::BySetting));
    assert_eq!(given.left_out("a/.env.example"), None);
    assert_eq!(given.left_out(".hg/a"), None);
    assert_eq!(given.left_out(".env.local"), Some(LeftOut::AsPrivate));
    assert_refused("EXCLUDE", &["[a", "!", "/", "a\\"]);
}

#[test]
fn encryption_is_s3s_own_or_a_key_in_kms() {
    let key = "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab";
    assert_eq!(with("SSE", &format!("aws:kms:{key}")).encryption, Encryption::Kms(key.to_owned()));
    assert_eq!(with("SSE", "AES256").encryption, Encryption::Aes256);
    assert_eq!(with("SSE", "").encryption, Encryption::OfBucket);
    let refused = [
        "aes256",
        "true",
        "aws:kms",
        "aws:kms:",
        "aws:kms:1234abcd-12ab-34cd-56ef-1234567890ab",
        "aws:kms:alias/site",
        "aws:kms:arn:aws:kms:us-east-1:123456789012:alias/site",
        "aws:kms:arn:aws:kms:us-east-1:1234:key/a",
        "aws:kms:arn:aws:kms:us-east-1:123456789012:key/*",
        "aws:kms:arn:aws:kms:us-east-1:123456789012:key/a:b",
        "aws:kms:dsse:arn:aws:kms:us-east-1:123456789012:key/a",
    ];
    assert_refused("SSE", &refused);
}

#[test]
fn usual_entry_points_are_known_at_any_depth_unless_the_setting_takes_them_back() {
    let usual = config(&[]).unwrap().entry_points;
    assert_eq!(usual, EntryPoints::default());
    for name in [
        "sw.js",
        "app/sw.js",
        "service-worker.js",
        "firebase-messaging-sw.js",
        "OneSignalSDK.sw.js",
        "offline-service-worker.js",
        "ServiceWorker.js",
        "serviceworker.js",
        "flutter_service_worker.js",
        "index.service.worker.js",
        "ngsw.json",
        "de/ngsw-worker.js",
        "service-worker-assets.js",
        "OneSignalSDKWorker.js",
        "version.json",
        "_app/version.json",
        "docs/_app/version.json",
        "_nuxt/builds/latest.json",
        "page-data/app-data.json",
        "blog/page-data/app-data.json",
        "hashmap.json",
        "pluginWebUpdateNotice/web_version_by_plugin.json",
        "remoteEntry.js",
        "sw.js.br",
        "ngsw.json.gz",
    ] {
        assert!(usual.has(name), "{name}");
    }
    for name in [
        "index.html",
        "sw.js.map",
        "answer.js",
        "registerSW.js",
        "workbox-1f84e78b.js",
        "asset-manifest.json",
        "manifest.webmanifest",
        "latest.json",
        "_nuxt/builds/meta/9c2d.json",
        "page-data/index/page-data.json",
        "conversion.json",
    ] {
        assert!(!usual.has(name), "{name}");
    }
    let given = with("LAST", "/latest.json,/docs/\n!version.json, !*-sw.js").entry_points;
    for (name, is_last) in [
        ("latest.json", true),
        ("a/latest.json", false),
        ("docs/index.html", true),
        ("_app/version.json", false),
        ("push-sw.js", false),
        ("sw.js", true),
    ] {
        assert_eq!(given.has(name), is_last, "{name}");
    }
    assert_refused("LAST", &["[a", "!", "/", "a\\"]);
}
