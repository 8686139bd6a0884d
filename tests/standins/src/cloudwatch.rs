//! `CloudWatch`'s API: the alarms of the account.

use std::sync::{Mutex, PoisonError};

use hyper::Response;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use s3s::Body;

use crate::Service;
use crate::cbor::Encoder;
use crate::response::{error, response};

/// The path of every operation (`CloudWatch`'s Smithy model, protocol `rpcv2Cbor`).
pub(crate) const PATH: &str = "/service/GraniteServiceVersion20100801/operation/";

/// An alarm.
#[derive(Clone, Debug)]
pub struct Alarm {
    pub name: String,
    pub is_on: bool,
    /// The topic that it notifies.
    pub topic: Option<String>,
}

#[derive(Default)]
pub(crate) struct CloudWatch {
    alarms: Mutex<Vec<Alarm>>,
}

impl CloudWatch {
    pub(crate) fn set_alarms(&self, alarms: Vec<Alarm>) {
        *self.alarms.lock().unwrap_or_else(PoisonError::into_inner) = alarms;
    }

    /// Lists all alarms in one page, whatever their names.
    pub(crate) fn answer(&self, parts: &Parts) -> Response<Body> {
        let operation = parts.uri.path().strip_prefix(PATH).unwrap_or_default();
        if operation != "DescribeAlarms" {
            return error(Service::CloudWatch, 400, "InvalidAction", &format!("{operation} is not emulated"));
        }
        let alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        let mut body = Encoder::default();
        body.map(1).str("MetricAlarms").array(alarms.len());
        for alarm in alarms.iter() {
            body.map(5).str("AlarmName").str(&alarm.name).str("AlarmDescription").str("See the runbook.");
            body.str("ActionsEnabled").boolean(true).str("StateValue").str(if alarm.is_on { "ALARM" } else { "OK" });
            body.str("AlarmActions").array(usize::from(alarm.topic.is_some()));
            alarm.topic.iter().for_each(|topic| {
                body.str(topic);
            });
        }
        let mut answer = response(200, "application/cbor", body.into_bytes());
        answer.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
        answer
    }
}
