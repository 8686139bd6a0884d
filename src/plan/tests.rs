use std::borrow::Cow;
use std::sync::LazyLock;

use proptest::collection::btree_map;
use proptest::prelude::*;

use super::*;
use crate::archive::{Limits, Parsed, Selection};
use crate::cache_tag::CacheTags;
use crate::config::{CacheControl, EntryPoints, Prune};
use crate::etag::Etag;
use crate::headers::{HeaderRules, Headers};
use crate::listing::Object;

const NOW: i64 = 1_795_341_300;
const DAY: i64 = 86_400;

static NO_TAGS: LazyLock<CacheTags> = LazyLock::new(CacheTags::default);

static ENTRY_POINTS: LazyLock<EntryPoints> = LazyLock::new(EntryPoints::default);

fn header_rules(assets: &str) -> HeaderRules {
    let cache_control = CacheControl { pages: "max-age=0".to_owned(), assets: assets.to_owned() };
    HeaderRules::new(cache_control, "", &[], None)
}

fn rules(headers: &HeaderRules) -> Rules<'_> {
    Rules {
        live_prefix: "",
        headers,
        gzip: false,
        tags: &NO_TAGS,
        entry_points: &ENTRY_POINTS,
        prune: Prune::All,
        max_delete_percent: 90,
        allow_large_delete: false,
        archive_root: None,
        index_document: "index.html",
        retain_removed_days: 0,
        now: NOW,
    }
}

/// Returns the index of a real archive.
fn index(files: &BTreeMap<String, String>) -> ArchiveIndex {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, body) in files {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(body.as_bytes()).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    match ArchiveIndex::parse(zip.len() as u64, &zip, &Selection::ALL, &Limits::default()).unwrap() {
        Parsed::Index(index) => index,
        Parsed::NeedsFrom(_) => unreachable!("the whole archive was given"),
    }
}

/// A model of a bucket: the body and headers of each object.
#[derive(Clone, Debug, Default)]
struct Bucket(BTreeMap<String, (String, Headers)>);

impl Bucket {
    fn etag(body: &str) -> Etag {
        format!("{:032x}", crc32fast::hash(body.as_bytes())).into()
    }

    fn listing(&self) -> Listing {
        let object = |body: &str| Object { size_bytes: body.len() as u64, etag: Self::etag(body), modified_at: None };
        self.0.iter().map(|(key, (body, _))| (key, object(body))).collect()
    }

    fn inspect(&self, key: &str) -> Inspection {
        let (body, headers) = &self.0[key];
        Inspection {
            crc32: Some(crc32fast::hash(body.as_bytes())),
            same_bytes: None,
            headers: headers.digest(),
            immutable: headers.is_immutable(),
        }
    }

    /// Carries out a plan, and returns the manifest that a run would write.
    fn apply(&mut self, plan: &Plan, before: &Manifest, files: &BTreeMap<String, String>, rules: &Rules) -> Manifest {
        let mut manifest = amended(plan, before);
        let mut changes = Vec::new();
        for put in &plan.puts {
            let before = self.0.get(&*put.key).map(|(body, _)| Self::etag(body));
            assert_eq!(put.replaces, before, "the condition on {} holds", put.key);
            let body = files[&*put.entry.name].clone();
            let wanted = rules.wanted(put.entry);
            let row = wanted.row(put.entry, body.len() as u64, Self::etag(&body));
            changes.push((&*put.key, Some(row)));
            self.0.insert(put.key.to_string(), (body, wanted.headers));
        }
        for change in &plan.header_changes {
            let wanted = rules.wanted(change.entry);
            let row = wanted.row(change.entry, change.size_bytes, change.etag.clone());
            changes.push((&*change.key, Some(row)));
            self.0.get_mut(&*change.key).unwrap().1 = wanted.headers;
        }
        for delete in &plan.deletes {
            self.0.remove(&delete.key);
            changes.push((&*delete.key, None));
        }
        manifest.change(changes);
        manifest
    }
}

fn amended(plan: &Plan, before: &Manifest) -> Manifest {
    let mut manifest = before.clone();
    let has_changed = plan.amend(&mut manifest);
    assert_eq!(has_changed, manifest != *before);
    manifest
}

fn plan<'a>(index: &'a ArchiveIndex, bucket: &Bucket, manifest: &Manifest, rules: &Rules) -> Plan<'a> {
    let listing = bucket.listing();
    let asked = to_inspect(index, &listing, manifest, rules);
    let inspections = asked.into_iter().map(|(key, ..)| (key.clone(), bucket.inspect(&key))).collect();
    Plan::new(index, &listing, manifest, &inspections, rules).unwrap()
}

fn site() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[ab]{1,2}\\.(html|js)", "[xy]{0,2}", 1..6)
}

/// Generates objects of other writers, with right or wrong bytes and headers, and with keys of the site or others.
fn foreign() -> impl Strategy<Value = BTreeMap<String, (String, bool)>> {
    btree_map("[ab]{1,2}\\.(html|js)", ("[xy]{0,2}", any::<bool>()), 0..6)
}

proptest! {
    #[test]
    fn a_plan_makes_the_bucket_match_the_archive_and_a_second_plan_is_empty(
        old in site(), new in site(), foreign in foreign(), has_manifest in any::<bool>(), assets in "max-age=[12]",
    ) {
        let first = header_rules("max-age=1");
        let mut bucket = Bucket::default();
        let old_index = index(&old);
        let manifest = {
            let plan = plan(&old_index, &bucket, &Manifest::default(), &rules(&first));
            bucket.apply(&plan, &Manifest::default(), &old, &rules(&first))
        };
        for (key, (body, has_headers)) in foreign {
            let wrong = Headers { content_type: "text/plain".to_owned(), ..first.headers(&key) };
            let headers = if has_headers { first.headers(&key) } else { wrong };
            // A listing does not show that another writer has changed only headers.
            let is_visible = bucket.0.get(&key).is_none_or(|(before, _)| *before != body);
            if is_visible {
                bucket.0.insert(key, (body, headers));
            }
        }
        let manifest = if has_manifest { manifest } else { Manifest::default() };

        let second = header_rules(&assets);
        let rules = rules(&second);
        let new_index = index(&new);
        let changes = plan(&new_index, &bucket, &manifest, &rules);
        let before = bucket.clone();
        let listed = bucket.listing();
        let found = manifest;
        let manifest = bucket.apply(&changes, &found, &new, &rules);
        let wanted: BTreeMap<_, _> =
            new.iter().map(|(key, body)| (key.clone(), (body.clone(), second.headers(key)))).collect();
        prop_assert_eq!(&bucket.0, &wanted);

        // An object is stale or new if and only if it differs from before, or from what the manifest has.
        let is_unrecorded = |key: &str| {
            let listed = listed.get(key).filter(|_| !found.is_empty());
            listed.is_some_and(|object| known::valid_row(&found, key, &object).is_none())
        };
        let mut kept = Vec::new();
        let stale = changes.stale(&listed, &mut kept);
        let mut invalidated: Vec<&str> = [stale.changed, stale.new, stale.deleted].concat();
        invalidated.sort_unstable();
        let keys = before.0.keys().chain(bucket.0.keys()).collect::<std::collections::BTreeSet<_>>();
        let keys = keys.into_iter().map(String::as_str);
        let differs: Vec<&str> =
            keys.filter(|key| before.0.get(*key) != bucket.0.get(*key) || is_unrecorded(key)).collect();
        prop_assert_eq!(invalidated, differs);

        let again = plan(&new_index, &bucket, &manifest, &rules);
        prop_assert!(again.is_empty(), "{again:?}");
        prop_assert_eq!(again.drift.count(), 0);
        prop_assert_eq!(amended(&again, &manifest), manifest.clone());
        prop_assert!(to_inspect(&new_index, &bucket.listing(), &manifest, &rules).is_empty());
    }

    #[test]
    fn an_outdated_row_that_a_write_could_revive_is_removed_first(old in site(), new in site(), other in site()) {
        // The manifest is that of `old`. An interrupted run then writes `other` and saves no manifest.
        let (one, two) = (header_rules("max-age=1"), header_rules("max-age=2"));
        let (mut bucket, old_index) = (Bucket::default(), index(&old));
        let manifest = {
            let plan = plan(&old_index, &bucket, &Manifest::default(), &rules(&one));
            bucket.apply(&plan, &Manifest::default(), &old, &rules(&one))
        };
        let other_index = index(&other);
        let interrupted = plan(&other_index, &bucket, &manifest, &rules(&two));
        let left = if interrupted.revives_rows { amended(&interrupted, &manifest) } else { manifest.clone() };
        bucket.apply(&interrupted, &manifest, &other, &rules(&two));

        let new_index = index(&new);
        let next = plan(&new_index, &bucket, &left, &rules(&one));
        bucket.apply(&next, &left, &new, &rules(&one));
        for (key, (_, headers)) in &bucket.0 {
            prop_assert_eq!(headers, &one.headers(key), "{}", key);
        }
    }
}

fn listing(keys: impl IntoIterator<Item = String>) -> Listing {
    keys.into_iter().map(|key| (key, Object { size_bytes: 1, etag: "e".into(), modified_at: None })).collect()
}

fn one_page() -> BTreeMap<String, String> {
    [("index.html".to_owned(), "page".to_owned())].into()
}

fn deletes(objects: usize, rules: &Rules) -> Result<usize, LargeDelete> {
    let index = index(&one_page());
    let live = listing((0..objects).map(|n| format!("{n}.html")));
    let plan = Plan::new(&index, &live, &Manifest::default(), &BTreeMap::new(), rules)?;
    Ok(plan.deletes.len())
}

#[test]
fn up_to_a_hundred_deletes_are_never_refused() {
    let headers = header_rules("");
    assert_eq!(deletes(100, &rules(&headers)), Ok(100));
    assert_eq!(deletes(101, &rules(&headers)), Err(LargeDelete::Objects { removed: 101, objects: 101, percent: 90 }));
}

#[test]
fn a_large_delete_is_possible_if_it_is_allowed_or_below_the_percentage() {
    let headers = header_rules("");
    let rules = rules(&headers);
    assert_eq!(deletes(101, &Rules { allow_large_delete: true, ..rules.clone() }), Ok(101));
    assert_eq!(deletes(101, &Rules { max_delete_percent: 100, ..rules }), Ok(101));
}

#[test]
fn the_guard_counts_a_retained_object_once_when_it_leaves_the_site() {
    let headers = header_rules("max-age=31536000, immutable");
    let rules = |days: i64| Rules { retain_removed_days: 7, now: NOW + days * DAY, ..rules(&headers) };
    let old: BTreeMap<String, String> = (0..200).map(|n| (format!("{n}.js"), "asset".to_owned())).collect();
    let (old_index, new) = (index(&old), one_page());
    let new_index = index(&new);
    let mut bucket = Bucket::default();
    let first = plan(&old_index, &bucket, &Manifest::default(), &rules(0));
    let manifest = bucket.apply(&first, &Manifest::default(), &old, &rules(0));
    let planned = |bucket: &Bucket, manifest: &Manifest, rules: &Rules| {
        let plan = Plan::new(&new_index, &bucket.listing(), manifest, &BTreeMap::new(), rules);
        plan.map(|plan| (plan.retained.len(), plan.deletes.len()))
    };
    let refused = LargeDelete::Objects { removed: 200, objects: 200, percent: 90 };
    assert_eq!(planned(&bucket, &manifest, &rules(1)), Err(refused));
    let allowed = Rules { allow_large_delete: true, ..rules(1) };
    let removal = plan(&new_index, &bucket, &manifest, &allowed);
    let manifest = bucket.apply(&removal, &manifest, &new, &allowed);
    assert_eq!(planned(&bucket, &manifest, &rules(2)), Ok((200, 0)));
    assert_eq!(planned(&bucket, &manifest, &rules(9)), Ok((0, 200)));
}

#[test]
fn prune_owned_deletes_only_our_own_unchanged_objects() {
    let headers = header_rules("");
    let index = index(&one_page());
    let live = listing(["ours.js", "touched.js", "theirs.js"].map(str::to_owned));
    let row = |etag: &str| Row {
        size_bytes: 1,
        crc32: 0,
        etag: etag.into(),
        headers: headers.headers("x.js").digest(),
        immutable: false,
        removed_at: None,
        gzip_of: None,
    };
    let manifest = [("ours.js".to_owned(), row("e")), ("touched.js".to_owned(), row("another"))].into_iter().collect();
    let deleted = |prune| {
        let rules = Rules { prune, ..rules(&headers) };
        let plan = Plan::new(&index, &live, &manifest, &BTreeMap::new(), &rules).unwrap();
        plan.deletes.into_iter().map(|delete| delete.key).collect::<Vec<_>>()
    };
    assert_eq!(deleted(Prune::All), ["ours.js", "theirs.js", "touched.js"]);
    assert_eq!(deleted(Prune::Owned), ["ours.js"]);
    assert_eq!(deleted(Prune::Off), [] as [&str; 0]);
}

#[test]
fn an_immutable_asset_is_retained_for_its_days_and_then_deleted_without_an_invalidation() {
    let headers = header_rules("max-age=31536000, immutable");
    let (old, new) =
        ([("app.1.js".to_owned(), "one".to_owned()), ("index.html".to_owned(), "page".to_owned())].into(), one_page());
    let at = |days: i64| Rules { retain_removed_days: 7, now: NOW + days * DAY, ..rules(&headers) };
    let mut bucket = Bucket::default();
    let old_index = index(&old);
    let first = plan(&old_index, &bucket, &Manifest::default(), &at(0));
    let manifest = bucket.apply(&first, &Manifest::default(), &old, &at(0));

    let new_index = index(&new);
    let removed = plan(&new_index, &bucket, &manifest, &at(1));
    assert_eq!((removed.retained.len(), removed.deletes.len()), (1, 0));
    let manifest = bucket.apply(&removed, &manifest, &new, &at(1));

    let kept = plan(&new_index, &bucket, &manifest, &at(7));
    assert_eq!((kept.retained.len(), kept.deletes.len()), (1, 0), "six days after its removal");
    let manifest = bucket.apply(&kept, &manifest, &new, &at(7));

    let back = plan(&old_index, &bucket, &manifest, &at(7));
    assert!(back.is_empty() && back.retained.is_empty(), "a key that comes back is kept: {back:?}");

    let due = plan(&new_index, &bucket, &manifest, &at(8));
    assert_eq!((due.retained.len(), due.deletes.len()), (0, 1));
    assert!(due.stale(&bucket.listing(), &mut Vec::new()).deleted.is_empty());

    // Requests for a key in its place may be answered from the cached copy of the deleted object.
    let in_its_place = [("app.1.js/index.html".to_owned(), "two".to_owned())];
    let index = index(&in_its_place.into());
    let due = plan(&index, &bucket, &manifest, &Rules { allow_large_delete: true, ..at(8) });
    let mut kept = Vec::new();
    let stale = due.stale(&bucket.listing(), &mut kept);
    assert_eq!(stale.new, ["app.1.js/index.html"]);
    assert_eq!(stale.kept, ["app.1.js"]);
}

#[test]
fn pages_are_in_a_later_wave_than_the_files_they_may_refer_to() {
    let headers = header_rules("");
    let files = ["a.html", "app.js", "b/index.html", "z.css"].map(|name| (name.to_owned(), name.to_owned()));
    let index = index(&files.into());
    let plan = plan(&index, &Bucket::default(), &Manifest::default(), &rules(&headers));
    assert_eq!(waves(plan), [vec!["app.js", "z.css"], vec!["a.html", "b/index.html"], vec![]]);
}

/// Returns the keys of each wave: those that are put, then those whose headers change.
fn waves(plan: Plan<'_>) -> [Vec<String>; 3] {
    let Waves { assets, pages, entry_points, .. } = plan.into_waves();
    [assets, pages, entry_points].map(|wave| {
        let puts = wave.puts.into_iter().map(|put| put.key);
        puts.chain(wave.header_changes.into_iter().map(|change| change.key)).map(Cow::into_owned).collect()
    })
}

#[test]
fn entry_points_are_in_the_last_wave_and_stale_after_it_whether_new_changed_or_copied() {
    let headers = header_rules("");
    let files = |files: &[(&str, &str)]| -> BTreeMap<String, String> {
        files.iter().map(|(name, body)| ((*name).to_owned(), (*body).to_owned())).collect()
    };
    let old = files(&[("a.html", "old"), ("sw.js", "old"), ("x/ngsw.json", "kept"), ("z.css", "kept")]);
    let new = files(&[
        ("_app/version.json", "new"),
        ("a.html", "new"),
        ("app.js", "new"),
        ("sw.js", "new"),
        ("x/ngsw.json", "kept"),
        ("z.css", "kept"),
    ]);
    let (mut bucket, before) = (Bucket::default(), index(&old));
    let first = plan(&before, &bucket, &Manifest::default(), &rules(&headers));
    let manifest = bucket.apply(&first, &Manifest::default(), &old, &rules(&headers));
    let other = header_rules("max-age=60");
    let after = index(&new);
    let plan = plan(&after, &bucket, &manifest, &rules(&other));
    let mut kept = Vec::new();
    let stale = plan.stale(&bucket.listing(), &mut kept);
    assert_eq!((stale.changed, stale.new), (vec!["a.html", "z.css"], vec!["app.js"]));
    assert_eq!(stale.changed_entry_points, ["sw.js", "x/ngsw.json"]);
    assert_eq!(stale.new_entry_points, ["_app/version.json"]);
    assert_eq!(
        waves(plan),
        [vec!["app.js", "z.css"], vec!["a.html"], vec!["_app/version.json", "sw.js", "x/ngsw.json"]]
    );
}
