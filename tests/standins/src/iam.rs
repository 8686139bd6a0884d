//! IAM's API: the simulation of a role's policies.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use hyper::Response;
use percent_encoding::percent_decode_str;
use s3s::Body;

use crate::Service;
use crate::response::{error, response};
use crate::xml::escaped;

/// The account's roles. They may do everything that no test denies.
#[derive(Default)]
pub(crate) struct Iam {
    denied: Mutex<BTreeSet<String>>,
}

impl Iam {
    pub(crate) fn deny(&self, action: &str) {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).insert(action.to_owned());
    }

    /// Answers a form (IAM API, `SimulatePrincipalPolicy`).
    pub(crate) fn answer(&self, form: &str) -> Response<Body> {
        let fields = || form.split('&').filter_map(|field| field.split_once('='));
        if !fields().any(|field| field == ("Action", "SimulatePrincipalPolicy")) {
            return error(Service::Iam, 400, "InvalidAction", "only SimulatePrincipalPolicy is emulated");
        }
        let denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let actions = fields().filter(|(name, _)| name.starts_with("ActionNames.member."));
        let results: String = actions
            .map(|(_, action)| {
                let action = percent_decode_str(action).decode_utf8_lossy();
                let decision = if denied.contains(&*action) { "implicitDeny" } else { "allowed" };
                let action = escaped(&action);
                format!(
                    "<member><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision></member>"
                )
            })
            .collect();
        let body = format!(
            "<SimulatePrincipalPolicyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
        );
        response(200, "text/xml", body)
    }
}
