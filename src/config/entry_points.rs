//! The files that tell a browser that there is a new build.

use super::variables::Variables;
use crate::patterns::Patterns;

/// The usual names of such files, at any depth, because sites are built for a folder of their own too.
///
/// Three kinds of files look alike and are not among them. A script that registers a worker (`registerSW.js` of
/// vite-plugin-pwa) says nothing about the build. Lists that only servers and tools read (`asset-manifest.json` of Create
/// React App, `.vite/manifest.json`) reach no browser. And a list whose name changes with every build
/// (`_buildManifest.js` of Next.js, `precache-manifest.<hash>.js` of Workbox) is found only through a file that has
/// changed before.
const USUAL: &str = "\
# Service workers. A browser fetches the script of a worker again, and installs it if a byte has changed (W3C, Service
# Workers, 'Update'). The new worker then fetches the pages and assets that it caches.
# Workbox, vite-plugin-pwa, next-pwa, gatsby-plugin-offline and Docusaurus write the first two.
sw.js
service-worker.js
# firebase-messaging-sw.js of Firebase, combined-sw.js of sites that combine two workers, OneSignalSDK.sw.js
*-sw.js
*.sw.js
*-service-worker.js
# ServiceWorker.js of Unity, serviceWorker.js and serviceworker.js in the examples of MDN
*[Ss]ervice[Ww]orker.js
# flutter_service_worker.js of Flutter
*service_worker.js
# index.service.worker.js of Godot
*.service.worker.js
# Angular: the worker fetches ngsw.json to look for a new version of the site (angular.dev, 'Service worker devops').
ngsw.json
ngsw-worker.js
safety-worker.js
# Blazor: the worker imports this list of the build's files (ASP.NET Core, 'Progressive Web Application').
service-worker-assets.js
# OneSignal: often combined with the site's own worker (OneSignal, 'OneSignal service worker')
OneSignalSDKWorker.js
OneSignalSDKUpdaterWorker.js
# Version files, which open pages fetch every few minutes, to reload themselves or their data when it has changed.
# _app/version.json of SvelteKit (`kit.version.pollInterval`), version.json of Flutter, version-polling and
# nuxt-version-checker
version.json
# Nuxt, in its folder of assets (`experimental.checkOutdatedBuildInterval`)
**/builds/latest.json
# Gatsby: `webpackCompilationHash`, by which a page sees that its data belong to another build
**/page-data/app-data.json
# VitePress: the file names of all pages, which a page fetches when the names that it knows are gone
hashmap.json
# plugin-web-update-notification
web_version_by_plugin.json
# Module Federation: through these, pages of other sites find the scripts of the build.
remoteEntry.js
mf-manifest.json
";

/// The files that tell a browser that there is a new build: those with the usual names, and those of the setting `LAST`,
/// which may take usual ones back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntryPoints(Patterns);

impl EntryPoints {
    pub(super) fn read<Get: Fn(&str) -> Option<String>>(variables: &mut Variables<Get>) -> Self {
        Self(variables.patterns("LAST", USUAL))
    }

    /// Whether the file is one of them. A compressed file is one if the file that it stands for is.
    pub fn has(&self, name: &str) -> bool {
        let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".br"));
        [Some(name), plain].into_iter().flatten().any(|name| self.0.selecting(name).is_some())
    }
}

impl Default for EntryPoints {
    /// Returns those of a stack that does not set `LAST`.
    fn default() -> Self {
        Self::read(&mut Variables::new(|_| None))
    }
}
