//! Viewers who request every URL of a site, and whose answers may still be on their way when something changes.

use standins::{Begun, Edge, Fetch};

/// The viewers of one edge location.
pub struct Viewers {
    edge: Edge,
    urls: Vec<String>,
    under_way: Vec<Fetch>,
}

impl Viewers {
    pub fn new(edge: Edge, urls: impl IntoIterator<Item = String>) -> Self {
        Self { edge, urls: urls.into_iter().collect(), under_way: Vec::new() }
    }

    /// Stores the answers that were on their way, and requests every URL. A new answer for which `lingers` returns
    /// true is stored only by the next call.
    pub fn visit(&mut self, mut lingers: impl FnMut() -> bool) {
        self.arrive();
        for url in &self.urls {
            match self.edge.begin(url) {
                Begun::Miss(fetch) if lingers() => self.under_way.push(fetch),
                Begun::Miss(fetch) => drop(self.edge.store(fetch)),
                Begun::Hit(_) => {}
            }
        }
    }

    /// Stores the answers that were on their way.
    pub fn arrive(&mut self) {
        for fetch in self.under_way.drain(..) {
            self.edge.store(fetch);
        }
    }
}
