//! Archives of the tools that people pack with. `tests/packers.sh` packs them, and says what to expect of each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dropship::report::Answer;
use serde::Deserialize;

use crate::build::Files;
use crate::note::note;
use crate::stage::{LIVE, Stage};

/// An archive, and what `tests/packers/tools.py` expects of it.
#[derive(Deserialize)]
struct Case {
    /// Names the tool and how it packed.
    name: String,
    archive: String,
    /// The folder that was packed.
    folder: String,
    outcome: Outcome,
    /// What the sentence of a refusal has to say.
    words: String,
    /// Files that the tool adds, and files that it leaves out.
    adds: Vec<String>,
    lacks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Live,
    Refused,
}

#[tokio::test]
async fn the_archive_of_every_packer_goes_live_byte_for_byte_or_is_refused_in_a_sentence() {
    let Ok(work) = std::env::var("DROPSHIP_PACKED").map(PathBuf::from) else {
        note("SKIPPED: DROPSHIP_PACKED names no folder of packed archives; run tests/packers.sh");
        return;
    };
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(work.join("cases.json")).unwrap()).unwrap();
    assert!(!cases.is_empty(), "no tool has packed an archive");
    let mut problems = Vec::new();
    for case in &cases {
        if let Err(problem) = case.check(&work).await {
            problems.push(format!("{}: {problem}", case.name));
        }
    }
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), cases.len(), problems.join("\n"));
}

impl Case {
    async fn check(&self, work: &Path) -> Result<(), String> {
        let archive = fs::read(work.join(&self.archive)).map_err(|error| error.to_string())?;
        let stage = Stage::new().await;
        let event = stage.upload_bytes("site.zip", archive);
        let answer = stage.invoke("packed", &event).await.into_answer();
        match (&self.outcome, answer) {
            (Outcome::Live, Ok(answer)) => self.compare(&stage, &answer, &work.join(&self.folder)),
            (Outcome::Live, Err(failure)) => Err(format!("is refused: {}", failure.error_message)),
            (Outcome::Refused, Ok(_)) => Err(format!("is deployed, and should be refused: {}", self.words)),
            (Outcome::Refused, Err(failure)) if failure.error_type != "ArchiveRejected" => Err(failure.error_message),
            (Outcome::Refused, Err(failure)) if !failure.error_message.contains(&self.words) => {
                Err(format!("is refused in other words: {}", failure.error_message))
            }
            (Outcome::Refused, Err(_)) if stage.writes_to_live().is_empty() => Ok(()),
            (Outcome::Refused, Err(_)) => Err("is refused after the first write".to_owned()),
        }
    }

    /// Compares the live bucket with the folder.
    fn compare(&self, stage: &Stage, answer: &Answer, folder: &Path) -> Result<(), String> {
        let mut build = Files::new();
        read_folder(folder, "", &mut build);
        let has_headers = build.remove("_headers").is_some();
        let warnings = answer.deployments[0].warnings.join("; ");
        if build.contains_key(".env") && !warnings.contains("private files are left out") {
            return Err(format!("does not warn of the file that is left out: {warnings}"));
        }
        build.retain(|name, _| !is_left_out(name) && !self.lacks.contains(name));
        let mut live: BTreeMap<_, _> = stage.cloud.objects(LIVE);
        live.retain(|key, _| !self.adds.contains(key));
        let missing: Vec<_> = build.keys().filter(|name| !live.contains_key(*name)).collect();
        let surplus: Vec<_> = live.keys().filter(|key| !build.contains_key(*key)).collect();
        if !missing.is_empty() || !surplus.is_empty() {
            return Err(format!("lacks {missing:?}, and has {surplus:?} too"));
        }
        let differing: Vec<_> = live.iter().filter(|(key, object)| object.body != build[*key]).collect();
        if let Some((key, _)) = differing.first() {
            return Err(format!("{key} and {} others differ", differing.len() - 1));
        }
        let cache_control = live.get("numbers.txt").and_then(|object| object.headers.cache_control.as_deref());
        if has_headers && cache_control != Some("public, max-age=61") {
            return Err(format!("the _headers file is not read: {cache_control:?}"));
        }
        Ok(())
    }
}

/// Returns whether dropship leaves a file of the site out by default.
fn is_left_out(name: &str) -> bool {
    name == ".env" || name.starts_with(".git/")
}

/// Reads the files below a folder, through symbolic links; names are separated by `/`.
fn read_folder(folder: &Path, below: &str, files: &mut Files) {
    for child in fs::read_dir(folder).unwrap() {
        let path = child.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            read_folder(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}
