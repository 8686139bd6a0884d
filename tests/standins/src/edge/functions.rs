//! CloudFront functions, by their real source: Node runs what the template has.
//!
//! A function on viewer requests runs before the cache is asked, and the path that it returns is the cache key. One on
//! viewer responses runs for every answer, cached or not, except for errors of the origin (CloudFront Developer Guide,
//! "Restrictions on edge functions").

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::EdgeAnswer;
use super::origin::split_query;
use crate::pattern;

/// The functions of a distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeFunctions {
    /// The source of the function on viewer requests.
    pub request: String,
    /// The path pattern of a behaviour, and the source of its function on viewer responses.
    pub response: Option<(String, String)>,
    /// Which path an invalidation is compared with. AWS recommends both ("What you need to know when invalidating
    /// files"), and does not say which one counts.
    pub evicted_by: Spelling,
}

impl EdgeFunctions {
    /// Returns whether there is a Node that can run functions.
    pub fn can_run() -> bool {
        Command::new("node").arg("--version").output().is_ok_and(|answer| answer.status.success())
    }
}

/// A path before or after a function on viewer requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    Viewers,
    Rewritten,
}

/// What a function on viewer requests makes of a request.
pub(super) enum Outcome {
    /// The path, with the query string as it was.
    Continues(String),
    /// The function answers itself; nothing is cached.
    Answers(EdgeAnswer),
}

/// Reads calls line by line, each a source and an event, and answers each with the result of the source's `handler`.
///
/// Every source runs in a context of its own, without the globals of Node, which CloudFront's runtime does not have.
const RUNNER: &str = r#"
const vm = require('vm');
const contexts = new Map();
require('readline').createInterface({input: process.stdin}).on('line', (line) => {
    const {source, event} = JSON.parse(line);
    if (!contexts.has(source)) {
        contexts.set(source, vm.createContext({}));
        vm.runInContext(source, contexts.get(source));
    }
    const context = contexts.get(source);
    context.event = JSON.stringify(event);
    console.log(vm.runInContext('JSON.stringify(handler(JSON.parse(event)))', context));
});
"#;

/// The process of Node, which all functions of this process share.
struct Node {
    process: Child,
    calls: ChildStdin,
    results: BufReader<ChildStdout>,
}

impl Node {
    fn start() -> Self {
        let process = Command::new("node").args(["-e", RUNNER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.expect("tests of viewers' functions need Node, as `node` in the PATH");
        let calls = process.stdin.take().expect("it is piped");
        let results = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, calls, results }
    }

    fn call(&mut self, source: &str, event: &Value) -> Value {
        writeln!(self.calls, "{}", json!({"source": source, "event": event})).expect("Node reads");
        let mut result = String::new();
        self.results.read_line(&mut result).expect("Node answers");
        match serde_json::from_str(&result) {
            Ok(result) => result,
            Err(_) => panic!("the function failed, as Node says above: {:?}", self.process.try_wait()),
        }
    }
}

/// Calls `handler` of a source. The event and the result are JSON.
fn call(source: &str, event: &Value) -> Value {
    static NODE: Mutex<Option<Node>> = Mutex::new(None);
    let mut node = NODE.lock().unwrap_or_else(PoisonError::into_inner);
    node.get_or_insert_with(Node::start).call(source, event)
}

impl EdgeFunctions {
    /// Runs the function on a viewer's request.
    pub(super) fn on_request(&self, host: &str, path_and_query: &str) -> Outcome {
        let (path, query) = split_query(path_and_query);
        let result = call(&self.request, &json!({"request": request(host, path, query)}));
        match result["statusCode"].as_u64() {
            Some(status) => Outcome::Answers(EdgeAnswer {
                status: u16::try_from(status).expect("a status has three digits"),
                headers: headers(&result["headers"]),
                body: Bytes::new(),
                from_cache: false,
            }),
            None => {
                let path = result["uri"].as_str().expect("a request has a path");
                Outcome::Continues(query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")))
            }
        }
    }

    /// Runs the function on the answer to a viewer, if its behaviour has one.
    pub(super) fn on_response(&self, host: &str, path_and_query: &str, answer: EdgeAnswer) -> EdgeAnswer {
        let (path, query) = split_query(path_and_query);
        let Some((_, source)) = self.response.as_ref().filter(|(behaviour, _)| pattern::matches(behaviour, path))
        else {
            return answer;
        };
        if answer.status >= 400 {
            return answer;
        }
        let given: Map<String, Value> =
            answer.headers.iter().map(|(name, value)| (name.clone(), json!({"value": value}))).collect();
        let response = json!({"statusCode": answer.status, "headers": given});
        let result = call(source, &json!({"request": request(host, path, query), "response": response}));
        EdgeAnswer { headers: headers(&result["headers"]), ..answer }
    }
}

fn request(host: &str, path: &str, query: Option<&str>) -> Value {
    let pairs = query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty());
    let query: Map<String, Value> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), json!({"value": value})))
        .collect();
    json!({"method": "GET", "uri": path, "querystring": query, "headers": {"host": {"value": host}}})
}

fn headers(of: &Value) -> BTreeMap<String, String> {
    let all = of.as_object().into_iter().flatten();
    all.filter_map(|(name, header)| Some((name.clone(), header["value"].as_str()?.to_owned()))).collect()
}
