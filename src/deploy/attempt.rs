//! One invocation's attempt at one upload: which upload it is, and under which settings.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Invocation, Site};
use crate::aws::archive::Archive;
use crate::cache_tag::CacheTags;
use crate::config::Config;
use crate::deployment::{
    AskedBy, DeploymentId, Identity, MAX_CLOCK_SKEW, Place, Previous, Record, Request, RunRecord, Status, Waiting,
};
use crate::error::Error;
use crate::event::{BadEvent, Options, Upload};
use crate::headers::HeaderRules;
use crate::plan::Rules;
use crate::report::{ArchiveName, Outcome, Report};
use crate::transfer::Transfer;

/// One upload, in one invocation.
pub(super) struct Attempt<'a> {
    pub site: &'a Site,
    pub invocation: &'a Invocation<'a>,
    pub place: Place,
    identity: Identity,
    pub upload: Upload,
    /// The meaning of "previous" that the claim relies on, if a person has named the upload so.
    pub previous: Option<Previous>,
    options: Options,
    started_at: DateTime<Utc>,
}

impl<'a> Attempt<'a> {
    /// Completes an upload whose event was written by hand, and computes the deployment's id unless the ledger knows
    /// it already, as `known`.
    ///
    /// # Errors
    /// `BadEvent` if the upload is dated in the future; `ArchiveGone`, `Aws`.
    pub(super) async fn identify(
        site: &'a Site,
        upload: &Upload,
        known: Option<Identity>,
        options: Options,
        invocation: &'a Invocation<'a>,
    ) -> Result<Self, Error> {
        let started_at = invocation.now();
        let from_future = upload.uploaded_at.filter(|at| !options.replay && *at > started_at + MAX_CLOCK_SKEW);
        if let Some(uploaded_at) = from_future {
            return Err(BadEvent::FutureUpload { key: upload.key.clone(), uploaded_at, now: started_at }.into());
        }
        let is_time_estimated = upload.uploaded_at.is_none();
        let upload = site.clients.archives.identify(upload).await?;
        // An upload for which S3 has no date counts as new.
        let uploaded_at = upload.uploaded_at.unwrap_or(started_at);
        let deployment = DeploymentId::of(&upload, uploaded_at);
        let named = Identity { deployment, uploaded_at, is_time_estimated, expires_at: None };
        let identity = known.map_or_else(|| named.clone(), |known| known.named_again(&named));
        let Identity { deployment, uploaded_at, .. } = identity.clone();
        tracing::Span::current().record("deployment", tracing::field::display(&deployment));
        tracing::info!(archive = upload.key, version = upload.version_id, "deploying");
        let (key, sequencer) = (Some(upload.key.clone()), upload.sequencer.clone());
        let place = Place { uploaded_at, deployment, key, sequencer };
        Ok(Self { site, invocation, place, identity, upload, previous: None, options, started_at })
    }

    /// The same attempt, which may claim the site only while "previous" has this meaning.
    pub(super) fn while_previous_is(self, previous: Previous) -> Self {
        Self { previous: Some(previous), ..self }
    }

    /// Whether the attempt takes the upload for the one that the ledger knows by this identity.
    pub(super) fn is_known_as(&self, identity: &Identity) -> bool {
        let has_its_time = identity.is_time_estimated || identity.uploaded_at == self.place.uploaded_at;
        identity.deployment == self.place.deployment && has_its_time
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.options.dry_run
    }

    /// Returns this attempt as the decision table sees it now.
    pub(super) fn request(&self) -> Request<'_> {
        Request {
            id: self.invocation.request_id,
            place: &self.place,
            replay: self.options.replay,
            now: self.invocation.now(),
        }
    }

    /// Returns the deployment's record, or a fresh one. Unless it has been live, it expires `HISTORY_DAYS` from now.
    pub(super) fn record(&self, known: Option<&Record>) -> Record {
        let record = known.cloned().unwrap_or_else(|| Record::new(&self.identity, &self.upload));
        let expires_at = (!record.has_been_live()).then(|| self.expires_at());
        let Identity { uploaded_at, is_time_estimated, .. } = self.identity;
        Record { uploaded_at, is_time_estimated, expires_at, ..record }
    }

    /// Returns the record of a run that the attempt starts.
    pub(super) fn run_record(&self, number: u64) -> RunRecord {
        let request = self.invocation.request_id;
        RunRecord {
            number,
            deployment: self.place.deployment.clone(),
            asked_by: AskedBy::of(request, self.options.replay),
            request: request.to_owned(),
            started_at: self.started_at,
            status: Status::Unfinished,
            attempts: 0,
            progress: None,
            ended_at: None,
            answer: None,
            failure: None,
            expires_at: self.expires_at(),
        }
    }

    /// Returns the note that the upload waits for the site; `None` for a replay, since only its sender may say
    /// when it is meant.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        (!self.options.replay).then(|| Waiting {
            record: self.record(None),
            place: self.place.clone(),
            allow_large_delete: self.options.allow_large_delete,
            expires_at: self.expires_at(),
        })
    }

    fn expires_at(&self) -> i64 {
        (self.invocation.now() + TimeDelta::days(i64::from(self.site.config.history_days))).timestamp()
    }

    /// Returns the rules that the plan of the deployment with this record follows.
    pub(super) fn rules<'r>(
        &'r self,
        record: Option<&Record>,
        headers: &'r HeaderRules,
        tags: &'r CacheTags,
    ) -> Rules<'r> {
        let config = &self.site.config;
        // Someone brings back a build that has been live, so it is the right one, however small.
        let is_way_back = |record: &Record| record.has_been_live() && (record.rollback || self.options.replay);
        Rules {
            live_prefix: &config.live_prefix,
            headers,
            gzip: config.gzip,
            tags,
            entry_points: &config.entry_points,
            prune: config.prune,
            max_delete_percent: config.max_delete_percent,
            // The guard protects the visitors of a site. A person who pushes a wrong preview sees it.
            allow_large_delete: self.options.allow_large_delete
                || config.is_preview()
                || record.is_some_and(is_way_back),
            archive_root: config.archive_root.as_deref(),
            index_document: &config.index_document,
            retain_removed_days: config.retain_removed_days,
            now: self.started_at.timestamp(),
        }
    }

    /// Returns the transfer from the archive to the live bucket.
    pub(super) fn transfer<'t>(
        &'t self,
        archive: &'t Archive,
        rules: &'t Rules<'t>,
        is_late: &'t (dyn Fn() -> bool + Sync),
    ) -> Transfer<'t> {
        let Site { config, clients } = self.site;
        Transfer::new(archive, &clients.bucket, rules, self.invocation.progress, is_late, config.memory_mib)
    }

    /// Returns a report without counts.
    pub(super) fn report(&self, outcome: Outcome, run: u64) -> Report {
        let archive = ArchiveName::of(&self.upload);
        let Config { site, preview, .. } = self.site.config.clone();
        Report {
            preview,
            duration_ms: self.duration_ms(),
            ..Report::new(self.place.deployment.clone(), run, site, outcome, archive)
        }
    }

    /// Returns the report of an attempt that deploys nothing, with the way to bring the build live on purpose.
    pub(super) fn report_without_run(&self, outcome: Outcome, last_run: u64) -> Report {
        let mut report = self.report(outcome, last_run);
        let reason = match outcome {
            Outcome::Superseded if self.site.config.is_preview() => {
                "a newer upload has taken the preview, or it was removed"
            }
            Outcome::Superseded => "a newer upload has taken the site",
            Outcome::Duplicate => "this upload has been deployed before",
            _ => return report,
        };
        let target = self.site.config.rollback_target(self.place.deployment.as_str());
        report.warnings.push(format!("{reason}; to bring this build live, send {{\"rollback\":\"{target}\"}}"));
        report
    }

    /// Returns how long the attempt has taken so far.
    pub(super) fn duration_ms(&self) -> u64 {
        u64::try_from((self.invocation.now() - self.started_at).num_milliseconds()).unwrap_or_default()
    }
}
