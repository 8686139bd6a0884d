//! The stack's alarms.

use aws_sdk_cloudwatch::types::StateValue;

use super::Operator;
use crate::aws::response::failed;
use crate::error::Error;

/// An alarm of `CloudWatch`.
#[derive(Clone, Debug)]
pub struct Alarm {
    pub name: String,
    pub description: String,
    /// Whether it is in the state `ALARM`.
    pub is_on: bool,
    /// Whether it does anything when it changes to that state.
    pub is_told: bool,
}

impl Operator {
    /// Returns the alarms whose names begin with `prefix`.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn alarms(&self, prefix: &str) -> Result<Vec<Alarm>, Error> {
        let request = self.cloudwatch.describe_alarms().alarm_name_prefix(prefix);
        let mut pages = request.into_paginator().send();
        let mut alarms = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("reading the stack's alarms", error))?;
            alarms.extend(page.metric_alarms.unwrap_or_default().into_iter().map(|alarm| Alarm {
                is_on: alarm.state_value == Some(StateValue::Alarm),
                is_told: alarm.actions_enabled != Some(false) && !alarm.alarm_actions().is_empty(),
                name: alarm.alarm_name.unwrap_or_default(),
                description: alarm.alarm_description.unwrap_or_default(),
            }));
        }
        Ok(alarms)
    }
}
