//! The template agrees with the program that it deploys.

use std::collections::{BTreeMap, BTreeSet};

use dropship::config::VARIABLES;
use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;

const TEMPLATE: &str = include_str!("../../template.yaml");
const SAMCONFIG: &str = include_str!("../../samconfig.toml");

/// Meant for endpoints other than AWS's own.
const NOT_OF_A_STACK: [&str; 2] = ["MAX_WRITES_PER_SECOND", "S3_FORCE_PATH_STYLE"];

pub const ACCOUNT: &str = "123456789012";

/// The template with the parameters of one stack.
pub struct Template {
    template: Value,
    parameters: BTreeMap<String, Value>,
}

impl Template {
    /// The stack `dropship`, whose parameters are their defaults but for these.
    pub fn with(parameters: &[(&str, &str)]) -> Self {
        let yaml: Yaml = serde_yaml_ng::from_str(TEMPLATE).expect("the template is YAML");
        let template = long_form(&yaml);
        let mut resolved = BTreeMap::new();
        for (name, parameter) in object(&template["Parameters"]) {
            let given = parameters.iter().find(|(given, _)| given == name);
            let value = match given {
                Some((_, value)) => json!(value),
                None => parameter["Default"].clone(),
            };
            let is_list = parameter["Type"] == "CommaDelimitedList";
            let value = if is_list { value.as_str().unwrap().split(',').collect() } else { value };
            resolved.insert(name.clone(), value);
        }
        for (given, _) in parameters {
            assert!(resolved.contains_key(*given), "no parameter {given}");
        }
        Self { template, parameters: resolved }
    }

    /// A resource with everything in it worked out; what AWS would make up is named after the resource.
    pub fn resource(&self, name: &str) -> Value {
        let resource = &self.template["Resources"][name];
        assert!(resource.is_object(), "no resource {name}");
        self.resolve(resource)
    }

    pub fn resources(&self) -> impl Iterator<Item = &String> {
        object(&self.template["Resources"]).keys()
    }

    fn condition(&self, name: &str) -> bool {
        let condition = &self.template["Conditions"][name];
        assert!(condition.is_object(), "no condition {name}");
        self.resolve(condition).as_bool().unwrap()
    }

    fn resolve(&self, value: &Value) -> Value {
        match value {
            Value::Array(values) => {
                values.iter().map(|value| self.resolve(value)).filter(|value| *value != Value::Null).collect()
            }
            Value::Object(members) => match members.iter().next() {
                Some((function, argument)) if members.len() == 1 => {
                    self.call(function, argument).unwrap_or_else(|| json!({function.as_str(): self.resolve(argument)}))
                }
                _ => members.iter().map(|(name, value)| (name.clone(), self.resolve(value))).collect(),
            },
            other => other.clone(),
        }
    }

    /// One of CloudFormation's functions; none if it is no function but a member's name.
    fn call(&self, function: &str, argument: &Value) -> Option<Value> {
        let item = |index: usize| self.resolve(&argument[index]);
        Some(match function {
            "Ref" => self.reference(argument.as_str()?),
            "Condition" => json!(self.condition(argument.as_str()?)),
            "Fn::GetAtt" => json!(attribute(argument.as_str()?)),
            "Fn::Equals" => json!(item(0) == item(1)),
            "Fn::Not" => json!(!item(0).as_bool()?),
            "Fn::And" => json!(array(argument).iter().all(|it| self.resolve(it) == true)),
            "Fn::Or" => json!(array(argument).iter().any(|it| self.resolve(it) == true)),
            "Fn::If" if self.condition(argument[0].as_str()?) => item(1),
            "Fn::If" => item(2),
            "Fn::Join" => {
                let parts = item(1);
                let parts: Vec<&str> = array(&parts).iter().filter_map(Value::as_str).collect();
                json!(parts.join(argument[0].as_str()?))
            }
            "Fn::Split" => {
                let whole = item(1);
                whole.as_str()?.split(argument[0].as_str()?).collect()
            }
            "Fn::Sub" => match argument {
                Value::String(text) => json!(self.substituted(text, &Value::Null)),
                _ => json!(self.substituted(argument[0].as_str()?, &item(1))),
            },
            _ if function.starts_with("Fn::") => panic!("{function} is not known here"),
            _ => return None,
        })
    }

    fn reference(&self, name: &str) -> Value {
        match name {
            "AWS::NoValue" => Value::Null,
            "AWS::AccountId" => json!(ACCOUNT),
            "AWS::Partition" => json!("aws"),
            "AWS::Region" => json!("us-east-1"),
            "AWS::StackName" => json!("dropship"),
            _ => match self.parameters.get(name) {
                Some(value) => value.clone(),
                None => {
                    assert!(self.resources().any(|it| it == name), "nothing is {name}");
                    json!(name)
                }
            },
        }
    }

    fn substituted(&self, text: &str, names: &Value) -> String {
        let mut done = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').expect("a closing brace");
            done.push_str(before);
            let value = match names.get(name) {
                Some(value) => value.clone(),
                None if name.contains('.') => json!(attribute(name)),
                None => self.reference(name),
            };
            done.push_str(&value.as_str().map_or(value.to_string(), str::to_owned));
            rest = after;
        }
        done + rest
    }
}

fn attribute(of: &str) -> String {
    let (name, attribute) = of.split_once('.').expect("a resource and its attribute");
    match (name, attribute) {
        ("Ledger", "Arn") => format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Ledger"),
        (_, "Arn") => format!("arn:of:{name}"),
        _ => format!("{attribute} of {name}"),
    }
}

/// YAML with CloudFormation's tags as JSON with its functions.
fn long_form(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let function = match tag.trim_start_matches('!') {
                name @ ("Ref" | "Condition") => name.to_owned(),
                name => format!("Fn::{name}"),
            };
            json!({function: long_form(&tagged.value)})
        }
        Yaml::Sequence(values) => values.iter().map(long_form).collect(),
        Yaml::Mapping(members) => {
            members.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), long_form(value))).collect()
        }
        other => serde_json::to_value(other).expect("a scalar"),
    }
}

fn object(value: &Value) -> &serde_json::Map<String, Value> {
    value.as_object().expect("an object")
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

#[test]
fn the_template_sets_every_variable_and_no_other() {
    let template = Template::with(&[]);
    let function = template.resource("Function");
    let set: BTreeSet<&str> =
        object(&function["Properties"]["Environment"]["Variables"]).keys().map(String::as_str).collect();
    let read: BTreeSet<&str> = VARIABLES
        .iter()
        .copied()
        .filter(|name| !NOT_OF_A_STACK.contains(name))
        // The C library's.
        .chain(["GLIBC_TUNABLES"])
        .collect();
    assert_eq!(set, read);
}

/// What the template's patterns and its own defaults let through is not refused at the first event.
#[test]
fn the_template_sets_a_valid_configuration() {
    for parameters in [
        &[("CreateSite", "true")][..],
        &[("LiveBucketName", "my-site")],
        &[
            ("LiveBucketName", "my-site"),
            ("LivePrefix", "docs/v2"),
            ("DistributionIds", "E1EXAMPLE,E2EXAMPLE"),
            ("Site", "team/docs"),
        ],
        &[
            ("LiveBucketName", "my-site"),
            ("DistributionIds", "E1EXAMPLE,E2EXAMPLE"),
            ("OriginPaths", "E1EXAMPLE=/docs,E2EXAMPLE=/"),
        ],
    ] {
        let template = Template::with(parameters);
        let mut variables = template.resource("Function")["Properties"]["Environment"]["Variables"].clone();
        // The names that CloudFormation makes up look like this.
        if variables["LIVE_BUCKET"] == "LiveBucket" {
            variables["LIVE_BUCKET"] = json!("dropship-livebucket-1a2b3c");
            variables["DISTRIBUTION_IDS"] = json!("E1EXAMPLE");
        }
        let text = |name: &str| match &variables[name] {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        if let Err(errors) = dropship::config::Config::from_variables(text) {
            panic!("{parameters:?}: {errors}");
        }
    }
}

#[test]
fn the_dashboard_shows_every_outcome() {
    use dropship::report::Outcome::*;
    let all = [Deployed, Unchanged, RolledBack, Superseded, Duplicate, InProgress, Planned, Swept, Ignored];
    for outcome in all {
        // Whoever adds an outcome is sent here by the compiler.
        match outcome {
            Deployed | Unchanged | RolledBack | Superseded | Duplicate | InProgress | Planned | Swept | Ignored => {}
        }
    }
    let outcomes = all.map(|outcome| serde_json::to_value(outcome).unwrap());
    let mut expected: BTreeSet<String> = outcomes.iter().map(|outcome| outcome.as_str().unwrap().to_owned()).collect();
    expected.insert("failed".to_owned());
    let dashboard = Template::with(&[]).resource("Dashboard");
    let body = dashboard["Properties"]["DashboardBody"].as_str().unwrap();
    let body: Value = serde_json::from_str(body).expect("the dashboard is JSON");
    let graph = &body["widgets"][0]["properties"]["metrics"];
    let shown = array(graph).iter().map(|row| {
        let mut names = array(row).iter().filter_map(Value::as_str);
        names.next_back().unwrap().to_owned()
    });
    assert_eq!(shown.collect::<BTreeSet<_>>(), expected);
}

#[test]
fn the_duration_alarm_fires_before_the_timeout() {
    let template = Template::with(&[]);
    let timeout_seconds = template.resource("Function")["Properties"]["Timeout"].as_u64().unwrap();
    let threshold_ms = template.resource("DurationAlarm")["Properties"]["Threshold"].as_u64().unwrap();
    assert_eq!(threshold_ms, (timeout_seconds - 120) * 1_000);
}

#[test]
fn every_environment_names_its_stack_and_none_is_the_default() {
    let mut tables = BTreeMap::<&str, Vec<&str>>::new();
    let mut table = "";
    for line in SAMCONFIG.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']');
        } else {
            tables.entry(table).or_default().push(line);
        }
    }
    for environment in ["dev", "staging", "prod", "local"] {
        for command in ["deploy", "delete", "remote_invoke"] {
            let name = format!("{environment}.{command}.parameters");
            let stack_name = format!("stack_name = \"dropship-{environment}\"");
            let settings = tables.remove(name.as_str());
            let settings = settings.unwrap_or_else(|| panic!("there is no [{name}]"));
            assert!(settings.contains(&stack_name.as_str()), "[{name}]");
            let is_asked = settings.contains(&"confirm_changeset = true");
            assert_eq!(is_asked, environment == "prod" && command == "deploy");
        }
    }
    // Under a misspelt name SAM would take settings of the default.
    let left: Vec<&str> = tables.into_keys().collect();
    assert_eq!(left, ["", "default.validate.parameters"]);
}
