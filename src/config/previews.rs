//! The previews of a site, and the settings that each of them has.

use super::variables::Variables;
use super::{Config, DistributionConfig, distribution};
use crate::preview::{FOLDER, PreviewName};

/// The settings that all previews of a site share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Previews {
    /// How long after its last push a preview ends.
    pub days: u32,
    /// The distribution that serves previews alone; `None` if they are folders of the live site.
    pub distribution: Option<String>,
    /// The domain below which each preview has a host of its own, if that distribution has one.
    pub domain: Option<String>,
}

const DISTRIBUTION: &str = "the id of a distribution, such as `E1EXAMPLE`";

const DOMAIN: &str = "a domain name such as `preview.example.com`, without a wildcard and in lower case";

/// Reads the previews' settings. All of them are checked, whether or not the site has previews.
pub(super) fn read(variables: &mut Variables<impl Fn(&str) -> Option<String>>) -> Option<Previews> {
    let previews = Previews {
        days: variables.number("PREVIEW_DAYS", 1..=3_650, 14),
        distribution: variables
            .read("PREVIEW_DISTRIBUTION_ID", DISTRIBUTION, |id| distribution::is_id(id).then(|| id.to_owned())),
        domain: variables.read("PREVIEW_DOMAIN", DOMAIN, domain),
    };
    variables.flag("PREVIEWS").then_some(previews)
}

fn domain(value: &str) -> Option<String> {
    let is_domain = value.len() <= 189 && value.contains('.') && value.split('.').all(is_label);
    is_domain.then(|| value.to_owned())
}

fn is_label(label: &str) -> bool {
    PreviewName::parse(label).is_some()
}

impl Config {
    /// Returns the settings of a preview: those of the site, under the preview's own name and prefix.
    pub fn of_preview(&self, name: &PreviewName) -> Self {
        let distribution = self.previews.as_ref().and_then(|previews| previews.distribution.clone());
        let own = distribution.map(|id| vec![DistributionConfig { id, origin_path: None }]);
        Self {
            site: format!("{}/{FOLDER}{name}", self.site),
            live_prefix: format!("{}{}", self.live_prefix, name.folder()),
            distributions: own.unwrap_or_else(|| self.distributions.clone()),
            preview: Some(name.clone()),
            ..self.clone()
        }
    }

    /// Whether the site is a preview.
    pub fn is_preview(&self) -> bool {
        self.preview.is_some()
    }

    /// Returns the name of the live site: the site's own, or that of the site whose preview it is.
    pub fn live_site(&self) -> &str {
        let own = self.preview.as_ref().map(|name| format!("/{FOLDER}{name}")).unwrap_or_default();
        self.site.strip_suffix(&own).unwrap_or(&self.site)
    }

    /// Returns the folder of the live bucket that is not the site's, because its previews are in it.
    pub fn folder_of_previews(&self) -> Option<String> {
        let has_previews = self.previews.is_some() && !self.is_preview();
        has_previews.then(|| format!("{}{FOLDER}", self.live_prefix))
    }

    /// Returns the host under which viewers reach the preview's distribution, if it has hosts for previews.
    pub fn preview_host(&self) -> Option<String> {
        let domain = self.previews.as_ref()?.domain.as_ref()?;
        Some(format!("{}.{domain}", self.preview.as_ref()?))
    }

    /// Whether the distribution of the site maps the host of a preview to its folder.
    pub fn maps_hosts(&self) -> bool {
        self.is_preview() && self.previews.as_ref().is_some_and(|previews| previews.distribution.is_some())
    }

    /// Returns what names a deployment of the site in a rollback.
    pub fn rollback_target(&self, deployment: &str) -> String {
        match &self.preview {
            Some(name) => format!("{}{deployment}", name.folder()),
            None => deployment.to_owned(),
        }
    }
}
