//! A simulation: two versions of a random site behind a random distribution, with every URL cached in between.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use fastrand::Rng;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use standins::{CustomError, Distribution, Domain, EdgeAnswer, IndexFunction, QueryStrings, Waiting};

use super::{assert_fresh, evicted, urls};
use crate::build::{Files, files};
use crate::stage::{DISTRIBUTION, LIVE, Stage, allowing};
use crate::viewers::Viewers;

/// How the distribution answers for missing objects.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Errors {
    Plain,
    /// An error page, cached for minutes.
    Page,
    /// The site's index document with status 200, cached for minutes.
    SinglePage,
    /// The index document, cached no longer than CloudFront's default.
    ShortSinglePage,
}

/// When the distribution has read cache tags.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tags {
    Never,
    Always,
    /// Not for a while, so that some cached answers have no tags.
    NotAllTheTime,
}

/// How the origin answers for `/docs/` and `/docs`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Folders {
    /// As S3 itself, which takes both for keys.
    Keys,
    Website,
    Function(IndexFunction),
}

/// The contents of a key in each version; 0 means that the version lacks the key.
#[derive(Clone, Copy, Debug)]
struct Contents {
    early: u8,
    old: u8,
    new: u8,
}

#[derive(Clone, Debug)]
struct Case {
    keys: BTreeMap<String, Contents>,
    tags: Tags,
    folders: Folders,
    has_root_object: bool,
    clean_urls: bool,
    query_strings: QueryStrings,
    max_items: usize,
    /// Patterns of entry points.
    last: &'static str,
    errors: Errors,
    /// Viewers request every URL between any two calls of the deployment, and some answers are on their way during the
    /// next call. This seed determines the calls' order.
    busy: Option<u64>,
}

fn cases() -> impl Strategy<Value = Case> {
    let folder = prop_oneof![3 => Just(""), 2 => Just("docs/"), 1 => Just("docs/é/"), 1 => Just("a b/")];
    let name = prop_oneof![
        4 => Just("index.html".to_owned()),
        3 => Just("about.html".to_owned()),
        2 => Just("about/index.html".to_owned()),
        2 => Just("docs".to_owned()),
        2 => "[abc]\\.(js|html)",
        2 => prop::sample::select(vec![
            "runtime~main.js", "c++.html", "it's.html", "café.html", "a b.html", "a#b.html", "[slug].html",
            "100%.html", "st*r.html", "star*", "what?.html", "myindex.html", "🎉", "index.html.bak",
        ]).prop_map(str::to_owned),
    ];
    let key = (folder, name).prop_map(|(folder, name)| format!("{folder}{name}"));
    let contents = prop_oneof![
        3 => Just((1_u8, 1_u8)), 2 => Just((1, 2)), 2 => Just((0, 1)), 2 => Just((1, 0)),
    ];
    let contents = (0..3_u8, contents).prop_map(|(early, (old, new))| Contents { early, old, new });
    let tags = prop_oneof![Just(Tags::Never), Just(Tags::Always), Just(Tags::NotAllTheTime)];
    let errors = prop_oneof![
        3 => Just(Errors::Plain), 1 => Just(Errors::Page),
        1 => Just(Errors::SinglePage), 1 => Just(Errors::ShortSinglePage),
    ];
    let budget = prop_oneof![1 => Just(200_usize), 1 => 1..9_usize];
    let last = prop::sample::select(vec!["", "", "*.html", "index.html", "about/,*.js", "/docs/,/[abc].*", "*"]);
    (
        prop::collection::btree_map(key, contents, 1..20),
        tags,
        (folders(), any::<bool>(), any::<bool>()),
        query_strings(),
        (budget, last),
        errors,
        prop::option::weighted(0.3, any::<u64>()),
    )
        .prop_map(
            |(keys, tags, (folders, has_root_object, clean_urls), query_strings, (max_items, last), errors, busy)| {
                // Only a function makes clean URLs work.
                let clean_urls = clean_urls && matches!(folders, Folders::Function(_));
                Case { keys, tags, folders, has_root_object, clean_urls, query_strings, max_items, last, errors, busy }
            },
        )
}

fn folders() -> impl Strategy<Value = Folders> {
    let function = prop::sample::select(vec![
        IndexFunction::ViewerRequest,
        IndexFunction::RewritingKey,
        IndexFunction::LambdaOnViewerRequest,
        IndexFunction::LambdaOnOriginRequest,
    ]);
    prop_oneof![Just(Folders::Keys), Just(Folders::Website), function.prop_map(Folders::Function)]
}

fn query_strings() -> impl Strategy<Value = QueryStrings> {
    let policy = |behavior| QueryStrings::Policy { id: "own".to_owned(), behavior };
    prop_oneof![
        3 => Just(QueryStrings::Ignored),
        1 => Just(policy("none")),
        1 => prop::sample::select(vec!["all", "whitelist", "allExcept"]).prop_map(policy),
        1 => any::<bool>().prop_map(QueryStrings::Forwarded),
    ]
}

impl Case {
    fn version(&self, pick: impl Fn(&Contents) -> u8) -> Files {
        let mut files: Files = (self.keys.iter())
            .filter(|(_, contents)| pick(contents) > 0)
            .map(|(key, contents)| (key.clone(), format!("{key} {}", pick(contents)).into_bytes()))
            .collect();
        // An archive cannot contain a file and a folder of the same name.
        let folders: Vec<String> = files.keys().cloned().collect();
        files.retain(|key, _| !folders.iter().any(|other| other.starts_with(&format!("{key}/"))));
        files.insert("kept.txt".to_owned(), b"kept".to_vec());
        files
    }

    fn distribution(&self) -> Distribution {
        let header = (self.tags != Tags::Never).then(|| "X-Amz-Meta-Cache-Tag".to_owned());
        let error = |page: &str, status, min_ttl_seconds| CustomError {
            code: 404,
            page: Some((page.to_owned(), status)),
            min_ttl_seconds,
        };
        let mut distribution = Distribution::of(DISTRIBUTION, LIVE);
        let index_function = match self.folders {
            Folders::Function(function) => function,
            Folders::Keys | Folders::Website => IndexFunction::None,
        };
        if self.folders == Folders::Website {
            distribution.origins[0].domain = Domain::Website;
        }
        if !self.has_root_object {
            distribution.default_root_object.clear();
        }
        Distribution {
            index_function,
            clean_urls: self.clean_urls,
            cache_tag_header: header,
            query_strings: self.query_strings.clone(),
            custom_errors: match self.errors {
                Errors::Plain => Vec::new(),
                Errors::Page => vec![error("/docs/about.html", 404, 300)],
                Errors::SinglePage => vec![error("/index.html", 200, 300)],
                Errors::ShortSinglePage => vec![error("/index.html", 200, 10)],
            },
            ..distribution
        }
    }

    fn has_query_strings_in_key(&self) -> bool {
        match &self.query_strings {
            QueryStrings::Ignored => false,
            QueryStrings::Policy { behavior, .. } => *behavior != "none",
            QueryStrings::Forwarded(in_key) => *in_key,
        }
    }

    /// Returns the URLs under which viewers request these keys, with and without a query string.
    fn requested(&self, keys: impl IntoIterator<Item = impl AsRef<str>>) -> BTreeSet<String> {
        let urls = keys.into_iter().flat_map(|key| urls(key.as_ref(), self.clean_urls));
        urls.flat_map(|url| [format!("{url}?x=1"), url]).collect()
    }

    /// Returns whether an item may match something: a wildcard, a tag, or a URL that viewers request and that the
    /// distribution caches. `before` is what it had cached when every URL had been requested.
    fn may_be_cached(&self, item: &str, before: &BTreeMap<String, EdgeAnswer>, urls: &BTreeSet<String>) -> bool {
        let is_plain = !item.ends_with('*') && !item.starts_with('#');
        // Viewers may spell a space as a plus sign, too.
        let spelled = item.replace('+', "%20");
        let is_cached = before.contains_key(item) || before.contains_key(&spelled);
        // AWS does not say whether the path before the function or the one after it is the key.
        let is_rewritten = matches!(self.folders, Folders::Function(_));
        // Browsers do not escape brackets.
        let as_key = |url: &String| url.replace('[', "%5B").replace(']', "%5D");
        let is_requested = urls.iter().map(as_key).any(|url| url == item || url == spelled);
        !is_plain || is_cached || is_rewritten && is_requested
    }

    /// Returns the URLs whose answers change with a key.
    fn urls_of_changed(&self, key: &str, old: &Files, new: &Files) -> BTreeSet<String> {
        let mut urls = self.requested([key]);
        let is_in_both = old.contains_key(key) && new.contains_key(key);
        if let Some(folder) = key.strip_suffix("/index.html").filter(|_| is_in_both && self.folders == Folders::Website)
        {
            // A redirect stays as it is while its index document only changes.
            let redirects = self.requested([folder]);
            urls.retain(|url| !redirects.contains(url));
        }
        urls
    }

    /// Returns the URLs that may be evicted without a warning: those of the keys that change.
    fn stale(&self, old: &Files, new: &Files) -> BTreeSet<String> {
        let changes = old.keys().chain(new.keys()).filter(|key| {
            let is_new = !old.contains_key(*key);
            let is_kept_error = matches!(self.errors, Errors::Page | Errors::SinglePage);
            old.get(*key) != new.get(*key) && (!is_new || is_kept_error)
        });
        let mut stale: BTreeSet<String> = changes.flat_map(|key| self.urls_of_changed(key, old, new)).collect();
        // A URL of a kept key that a new key also answers.
        let arrived = self.requested(new.keys().filter(|key| !old.contains_key(*key)));
        stale.extend(self.requested(old.keys()).intersection(&arrived).cloned());
        stale
    }
}

#[derive(Debug, Default)]
struct Totals {
    cases: usize,
    urls: usize,
    evicted: usize,
    items: usize,
    tags: usize,
    /// Needless evictions in cases whose stale paths fit into the budget.
    needless_within_budget: usize,
    needless_over_budget: usize,
    over_budget: usize,
}

#[test]
fn every_url_answers_as_the_new_site_does() {
    simulate_all(60, cases());
}

#[test]
fn every_url_answers_as_the_new_site_does_when_tags_are_used() {
    // Small budgets: a tag is used only if the stale paths do not fit into the budget.
    let tags = prop_oneof![Just(Tags::Always), Just(Tags::NotAllTheTime)];
    let errors = prop_oneof![4 => Just(Errors::Plain), 1 => Just(Errors::Page)];
    let tight = (cases(), tags, errors, 2..7_usize).prop_map(|(case, tags, errors, max_items)| Case {
        tags,
        errors,
        max_items,
        ..case
    });
    let totals = simulate_all(60, tight);
    assert!(totals.tags > 0, "no case used a tag");
}

fn simulate_all(number: u32, cases: impl Strategy<Value = Case>) -> Totals {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let totals = RefCell::new(Totals::default());
    let config = Config { cases: number, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&cases, |case| {
        runtime.block_on(simulate(&case, &totals));
        Ok(())
    });
    eprintln!("edge simulation: {:?}", totals.borrow());
    run.unwrap();
    totals.into_inner()
}

/// Deploys both versions, with every URL cached in between.
async fn simulate(case: &Case, totals: &RefCell<Totals>) {
    let stage = Stage::new()
        .await
        .with("CLEAN_URLS", &case.clean_urls.to_string())
        .with("MAX_INVALIDATION_PATHS", &case.max_items.to_string())
        .with("LAST", case.last);
    stage.cloud.create_distribution(case.distribution());
    let (old, new) = (case.version(|it| it.old), case.version(|it| it.new));
    let mut urls = case.requested(old.keys().chain(new.keys()));
    if matches!(case.errors, Errors::SinglePage | Errors::ShortSinglePage) {
        urls.insert("/users/42".to_owned());
    }
    let edge = stage.cloud.edge(DISTRIBUTION);
    if case.tags == Tags::NotAllTheTime {
        let early = case.version(|it| it.early);
        stage.deploy("early", &allowing(stage.upload("site.zip", &early))).await;
        stage.cloud.backdate(LIVE, Duration::from_secs(3 * 3_600));
        stage.cloud.change_distribution(Distribution { cache_tag_header: None, ..case.distribution() });
        edge.warm_all(&urls);
        stage
            .cloud
            .change_distribution(Distribution { modified_at: Utc::now() - TimeDelta::hours(2), ..case.distribution() });
    }
    stage.deploy("old", &allowing(stage.upload("site.zip", &old))).await;
    edge.warm_all(&urls);
    let before = edge.cached();
    let event = allowing(stage.upload("site.zip", &new));
    let report = match case.busy.map(Rng::with_seed) {
        Some(mut random) => {
            let mut viewers = Viewers::new(edge.clone(), urls.clone());
            let next_call = |waiting: &[Waiting]| {
                viewers.visit(|| random.bool());
                random.usize(..waiting.len())
            };
            let report = stage.deploy_by_call("new", &event, next_call).await;
            viewers.arrive();
            report
        }
        None => stage.deploy("new", &event).await,
    };
    stage.assert_live(&new);

    let mut totals = totals.borrow_mut();
    totals.cases += 1;
    totals.urls += urls.len();
    totals.items += report.invalidations.iter().map(|sent| sent.items).sum::<usize>();
    let sent = stage.items_sent(&report, DISTRIBUTION);
    totals.tags += sent.iter().filter(|item| item.starts_with('#')).count();
    if case.busy.is_none() {
        let evicted = evicted(&edge, &before);
        totals.evicted += evicted.all.len();
        let stale = case.stale(&old, &new);
        // A wildcard may take redirects and errors along, which are no objects.
        let has_wildcards = sent.iter().any(|item| item.ends_with('*'));
        let counts = |url: &&String| !stale.contains(*url) && (before[*url].status == 200 || !has_wildcards);
        let needless: Vec<_> = evicted.needlessly.iter().filter(counts).collect();
        let is_within_budget = report.warnings.is_empty();
        if is_within_budget {
            totals.needless_within_budget += needless.len();
            assert_eq!(needless, [] as [&String; 0], "evicted needlessly, and no warning says so");
        } else {
            totals.over_budget += 1;
            totals.needless_over_budget += needless.len();
        }
        // The report decides whether the budget sufficed; it must not warn if every path can be an item.
        let can_name_all = stale.iter().all(|url| !url.contains(['~', '\'', '*']) && !url.contains("%3F"));
        let is_roomy = case.max_items == 200 && !case.has_query_strings_in_key() && case.errors != Errors::SinglePage;
        assert!(is_within_budget || !can_name_all || !is_roomy, "{:?}", report.warnings);
    }
    let needless: Vec<_> = sent.iter().filter(|item| !case.may_be_cached(item, &before, &urls)).collect();
    assert_eq!(needless, [] as [&String; 0], "items that match no URL that the distribution may cache");
    if case.errors == Errors::Page {
        // Where no object of the site ever was, an old error page stays until it expires.
        let is_error = |url: &String| edge.get(url).status == 404 && before.get(url).is_none_or(|it| it.status == 404);
        urls.retain(|url| !is_error(url));
    }
    assert_fresh(&stage, case.distribution(), &urls);
}

#[tokio::test]
async fn a_path_that_two_new_pages_share_is_fresh_even_if_requested_between_their_writes() {
    let stage = Stage::new().await.with("CLEAN_URLS", "true");
    let distribution = Distribution { clean_urls: true, ..Distribution::of(DISTRIBUTION, LIVE) };
    stage.cloud.create_distribution(distribution.clone());
    let site = [("about.html", "first"), ("about/index.html", "second")];
    let event = stage.upload("site.zip", &files(site));
    let edge = stage.cloud.edge(DISTRIBUTION);
    let mut answers = BTreeSet::new();
    let viewer = |_: &[Waiting]| {
        answers.insert(edge.get("/about").body);
        0
    };
    stage.deploy_by_call("one", &event, viewer).await;
    assert!(answers.contains("first".as_bytes()), "{answers:?}");
    assert_fresh(&stage, distribution, &["/about".to_owned()]);
}
