//! Builds of a tiny site, in which keys leave, come back with other bytes, and meet as pages, immutable assets and entry
//! points.

use std::collections::BTreeMap;

use fastrand::Rng;
use zip::CompressionMethod;

use crate::build::{Files, packed, replaced};

/// The keys that builds choose from.
pub const KEYS: [&str; 7] = ["a.html", "a.js", "b.css", "d/index.html", "im/x.js", "index.html", "sw.js"];

/// The URLs that viewers request.
pub const URLS: [&str; 9] =
    ["/", "/index.html", "/a.html", "/a.js", "/b.css", "/d", "/d/index.html", "/im/x.js", "/sw.js"];

const BODIES: [&str; 3] = ["0", "1", "22"];

/// The contents of a corrupt entry, and those that its checksum belongs to.
const CORRUPT: [&str; 2] = ["corrupt", "correct"];

pub const IMMUTABLE: &str = "public, max-age=31536000, immutable";

const AN_HOUR: &str = "public, max-age=0, s-maxage=3600";

/// The default Cache-Control.
pub const A_DAY: &str = "public, max-age=0, s-maxage=86400, must-revalidate";

/// An archive that CI uploads.
#[derive(Clone, Debug, PartialEq)]
pub struct Build {
    /// The body of each key.
    pub files: BTreeMap<&'static str, &'static str>,
    /// Whether `_headers` gives style sheets another Cache-Control.
    pub has_hour: bool,
    pub flaw: Option<Flaw>,
}

/// Why an archive should not be deployed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flaw {
    NoZip,
    /// The data of one entry does not match its checksum.
    Corrupt(&'static str),
}

/// An object as it should be live.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub body: Vec<u8>,
    pub cache_control: &'static str,
}

impl Build {
    pub fn random(rng: &mut Rng, may_be_flawed: bool) -> Self {
        let mut files = BTreeMap::new();
        while files.is_empty() {
            for key in KEYS {
                let is_there = if key == "index.html" { rng.u8(..20) > 0 } else { rng.bool() };
                if is_there {
                    files.insert(key, BODIES[rng.usize(..BODIES.len())]);
                }
            }
        }
        let flaw = (may_be_flawed && rng.u8(..7) == 0).then(|| {
            let keys: Vec<&&str> = files.keys().collect();
            if rng.bool() { Flaw::NoZip } else { Flaw::Corrupt(keys[rng.usize(..keys.len())]) }
        });
        Self { files, has_hour: rng.u8(..4) == 0, flaw }
    }

    /// Whether a site with an index document refuses it.
    pub fn lacks_index(&self) -> bool {
        !self.files.contains_key("index.html")
    }

    pub fn archive(&self) -> Vec<u8> {
        let headers = format!(
            "/im/*\n  Cache-Control: {IMMUTABLE}\n{}",
            if self.has_hour { format!("/*.css\n  Cache-Control: {AN_HOUR}\n") } else { String::new() }
        );
        let mut files = Files::from([("_headers".to_owned(), headers.into_bytes())]);
        for (key, body) in &self.files {
            let is_corrupt = self.flaw == Some(Flaw::Corrupt(key));
            let body = if is_corrupt { CORRUPT[1] } else { body };
            files.insert((*key).to_owned(), body.as_bytes().to_vec());
        }
        let archive = packed(&files, CompressionMethod::Stored, false);
        match self.flaw {
            Some(Flaw::NoZip) => b"no zip".to_vec(),
            Some(Flaw::Corrupt(_)) => replaced(archive, CORRUPT[1].as_bytes(), CORRUPT[0].as_bytes(), 1),
            _ => archive,
        }
    }

    /// Returns what should be live.
    pub fn expected(&self) -> BTreeMap<String, Expected> {
        let object = |(key, body): (&&str, &&str)| {
            let cache_control = match *key {
                "im/x.js" => IMMUTABLE,
                "b.css" if self.has_hour => AN_HOUR,
                _ => A_DAY,
            };
            ((*key).to_owned(), Expected { body: body.as_bytes().to_vec(), cache_control })
        };
        self.files.iter().map(object).collect()
    }

    /// Describes it in words.
    pub fn story(&self) -> String {
        let files: Vec<String> = self.files.iter().map(|(key, body)| format!("{key}={body}")).collect();
        let mut story = files.join(" ");
        if self.has_hour {
            story.push_str(", style sheets for an hour");
        }
        match self.flaw {
            Some(Flaw::NoZip) => "no zip at all".clone_into(&mut story),
            Some(Flaw::Corrupt(key)) => story.push_str(&format!(", but {key} is corrupt")),
            None => {}
        }
        story
    }
}

/// Whether bytes are those of a corrupt entry.
pub fn is_corrupt(body: &[u8]) -> bool {
    body == CORRUPT[0].as_bytes()
}
