//! The stack that a command is about. Its function's settings say where everything is.

use std::path::{Path, PathBuf};

use dropship::aws::Clients;
use dropship::aws::cdn::Cdn;
use dropship::aws::ledger::Ledger;
use dropship::aws::operator::{Access, Function, Operator, has_region, load, missing_credentials};
use dropship::config::Config;
use dropship::error::Error;
use dropship::preview::PreviewName;
use serde::Deserialize;

use crate::arguments::Global;
use crate::failure::Failure;

/// The file that names a stack for everyone who works on a site.
const FILE: &str = "dropship.toml";

/// A stack, with its clients.
pub struct Stack {
    pub name: String,
    pub config: Config,
    pub function: Function,
    pub operator: Operator,
    pub ledger: Ledger,
    pub cdn: Cdn,
}

/// The settings in `dropship.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    stack: Option<String>,
    profile: Option<String>,
    region: Option<String>,
}

impl Stack {
    pub async fn find(global: &Global) -> Result<Self, Failure> {
        let here = std::env::current_dir().map_err(Failure::local)?;
        let settings = Settings::read(&here)?;
        let name = global.stack.clone().or(settings.stack).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| {
            Failure::Usage(format!(
                "no stack is named: say --stack NAME, set DROPSHIP_STACK, or write stack = \"NAME\" into a {FILE}"
            ))
        })?;
        let sdk = load(Access {
            profile: global.profile.clone(),
            usual_profile: settings.profile,
            region: global.region.clone().or(settings.region),
            endpoint_url: global.endpoint_url.clone(),
        })
        .await;
        if !has_region(&sdk) {
            return Err(Failure::Usage("no AWS region is named: say --region NAME, or set AWS_REGION".to_owned()));
        }
        let function = match Function::read(&sdk, &name).await {
            Ok(function) => function,
            Err(error) => return Err(unreached(global, error, missing_credentials(&sdk).await)),
        };
        let function = function.ok_or_else(|| {
            Failure::Usage(format!(
                "there is no stack {name} in this account and region: `aws cloudformation list-stacks` lists them, \
                 and --region and --profile choose others"
            ))
        })?;
        let config = Config::from_variables(|variable| function.variables.get(variable).cloned());
        let config = config.map_err(|errors| Failure::Aws(Error::from(errors)))?;
        let operator = Operator::new(&sdk, &config);
        let Clients { ledger, cdn, .. } = Clients::new(&sdk, &config);
        Ok(Self { name, config, function, operator, ledger, cdn })
    }
}

impl Stack {
    /// Returns the stack for commands about a preview instead of the live site.
    pub fn preview(self, name: &PreviewName) -> Result<Self, Failure> {
        let config = self.config_of_preview(name)?;
        let (ledger, cdn) = (self.ledger.of_site(&config), self.cdn.of_site(&config));
        Ok(Self { config, ledger, cdn, ..self })
    }

    /// Returns the settings of a preview.
    ///
    /// # Errors
    /// `Usage` if the stack has no previews, or if it is meant for one already.
    pub fn config_of_preview(&self, name: &PreviewName) -> Result<Config, Failure> {
        match (&self.config.previews, &self.config.preview) {
            (Some(_), None) => Ok(self.config.of_preview(name)),
            (Some(_), Some(_)) => Err(Failure::Usage("this command takes no --preview".to_owned())),
            (None, _) => {
                Err(Failure::Usage(format!("the stack {} has no previews; set its parameter Previews=true", self.name)))
            }
        }
    }

    /// Returns the folder of the staging bucket to which archives are uploaded.
    pub fn uploads(&self) -> String {
        let folder = self.config.preview.as_ref().map(PreviewName::folder).unwrap_or_default();
        format!("{}{folder}", self.config.upload_prefix)
    }
}

/// Returns why the stack cannot be read. Without credentials, what there is to do comes first.
fn unreached(global: &Global, error: Error, missing: Option<String>) -> Failure {
    match (missing, &global.profile) {
        (None, _) => error.into(),
        (Some(reason), Some(profile)) => {
            Failure::Local(format!("profile {profile} has no credentials; `aws sso login` signs in ({reason})"))
        }
        (Some(reason), None) => Failure::Local(format!(
            "there are no AWS credentials: say --profile NAME, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY ({reason})"
        )),
    }
}

impl Settings {
    /// Reads the file in a folder or in the nearest one above it that has one.
    fn read(folder: &Path) -> Result<Self, Failure> {
        let Some(path) = folder.ancestors().map(|folder| folder.join(FILE)).find(|path| path.is_file()) else {
            return Ok(Self::default());
        };
        let unreadable = |path: &PathBuf, error: &dyn std::fmt::Display| {
            Failure::Usage(format!("{}: {error}; it may name stack, profile and region", path.display()))
        };
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            unreadable(&path, &format!("line {line}: {}", error.message().replace('\n', ", ")))
        })
    }
}
