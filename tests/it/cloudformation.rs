//! The template as CloudFormation resolves it, with the parameters of one stack.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;

const TEMPLATE: &str = include_str!("../../template.yaml");

pub const ACCOUNT: &str = "123456789012";

/// The template with the parameters of one stack.
pub struct Template {
    template: Value,
    parameters: BTreeMap<String, Value>,
}

impl Template {
    /// Returns the template of the stack `dropship` with these parameters, and defaults for the others.
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
            assert!(resolved.contains_key(*given), "the template has no parameter {given}");
        }
        Self { template, parameters: resolved }
    }

    /// Returns a resource with all functions resolved. Names that AWS would generate are derived from the resource's.
    pub fn resource(&self, name: &str) -> Value {
        let resource = &self.template["Resources"][name];
        assert!(resource.is_object(), "the template has no resource {name}");
        self.resolve(resource)
    }

    /// Whether a stack with these parameters has a resource.
    pub fn has(&self, resource: &str) -> bool {
        let condition = &self.template["Resources"][resource]["Condition"];
        condition.as_str().is_none_or(|name| self.condition(name))
    }

    /// Returns a resource as it is written.
    pub fn unresolved(&self, name: &str) -> &Value {
        &self.template["Resources"][name]
    }

    /// Returns the declaration of a parameter.
    pub fn parameter(&self, name: &str) -> &Value {
        let parameter = &self.template["Parameters"][name];
        assert!(parameter.is_object(), "the template has no parameter {name}");
        parameter
    }

    /// Returns the value of an output, with all functions resolved.
    pub fn output(&self, name: &str) -> Value {
        self.resolve(&self.template["Outputs"][name]["Value"])
    }

    /// Returns the descriptions of the assertions that these parameters break.
    pub fn broken_rules(&self) -> Vec<String> {
        let assertions = object(&self.template["Rules"]).values().flat_map(|rule| array(&rule["Assertions"]));
        let broken = assertions.filter(|assertion| self.resolve(&assertion["Assert"]) != true);
        broken.map(|assertion| assertion["AssertDescription"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the names of the resources.
    fn resources(&self) -> impl Iterator<Item = &String> {
        object(&self.template["Resources"]).keys()
    }

    fn condition(&self, name: &str) -> bool {
        let condition = &self.template["Conditions"][name];
        assert!(condition.is_object(), "the template has no condition {name}");
        self.resolve(condition).as_bool().unwrap()
    }

    /// Resolves the functions in a value.
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

    /// Resolves a function of CloudFormation, or returns `None` if the name is that of an ordinary member.
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
            "Fn::Contains" => json!(array(&item(0)).contains(&item(1))),
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
            _ if function.starts_with("Fn::") => panic!("this module does not support {function}"),
            _ => return None,
        })
    }

    /// Resolves `Ref`.
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
                    assert!(
                        self.resources().any(|it| it == name),
                        "neither a parameter nor a resource is named {name}"
                    );
                    json!(name)
                }
            },
        }
    }

    /// Resolves `Fn::Sub`, with names of its own before those of the template.
    fn substituted(&self, text: &str, names: &Value) -> String {
        let mut done = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').expect("every `${` has a closing brace");
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

/// Resolves `Fn::GetAtt`.
fn attribute(path: &str) -> String {
    let (name, attribute) = path.split_once('.').expect("the path is a resource and its attribute");
    match (name, attribute) {
        ("Ledger", "Arn") => format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Ledger"),
        (_, "Arn") => format!("arn:of:{name}"),
        _ => format!("{attribute} of {name}"),
    }
}

/// Converts YAML with CloudFormation's tags into JSON with its functions.
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
        other => serde_json::to_value(other).expect("a scalar is valid JSON"),
    }
}

pub fn object(value: &Value) -> &serde_json::Map<String, Value> {
    value.as_object().expect("the value is an object")
}

pub fn array(value: &Value) -> &Vec<Value> {
    value.as_array().expect("the value is a list")
}
