//! The rights of the function's role, as IAM evaluates them.

use aws_sdk_iam::types::PolicyEvaluationDecisionType;
use futures_util::future::try_join_all;

use super::Operator;
use crate::aws::response::failed;
use crate::error::Error;

/// Actions on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    pub actions: Vec<&'static str>,
    /// The resource's ARN.
    pub resource: String,
}

/// An action that a role may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub action: String,
    pub resource: String,
}

impl Operator {
    /// Returns the rights that a role lacks. The simulation knows the role's own policies and boundaries, but no bucket's
    /// policy (IAM API, `SimulatePrincipalPolicy`).
    ///
    /// # Errors
    /// `Aws`.
    pub async fn missing_rights(&self, role_arn: &str, needed: &[Rights]) -> Result<Vec<Missing>, Error> {
        let missing = try_join_all(needed.iter().map(|rights| self.missing(role_arn, rights))).await?;
        Ok(missing.into_iter().flatten().collect())
    }

    async fn missing(&self, role_arn: &str, rights: &Rights) -> Result<Vec<Missing>, Error> {
        let request = self.iam.simulate_principal_policy().policy_source_arn(role_arn).resource_arns(&rights.resource);
        let request = request.set_action_names(Some(rights.actions.iter().map(|it| (*it).to_owned()).collect()));
        let mut results = request.into_paginator().items().send();
        let mut missing = Vec::new();
        while let Some(result) = results.next().await {
            let result = result.map_err(|error| failed(format!("simulating the policies of {role_arn}"), error))?;
            if result.eval_decision != PolicyEvaluationDecisionType::Allowed {
                missing.push(Missing { action: result.eval_action_name, resource: rights.resource.clone() });
            }
        }
        Ok(missing)
    }
}
