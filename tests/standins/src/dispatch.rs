//! The way of one call: through the gate, the faults and the authorizer to its service, and back through the faults.

use std::future;
use std::sync::Weak;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, EXPECT, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use s3s::Body;

use crate::cloud::{Authorizer, Inner};
use crate::faults::RefusedKeys;
use crate::function::is_upload;
use crate::response::{denied, error, size_bytes, truncated};
use crate::server::{Dropped, read_body};
use crate::{Call, Cloud, Does, Fault, Service};

/// Answers one request, unless the account has ended or a fault says otherwise.
pub(crate) async fn answer(account: Weak<Inner>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let skips_continue = parts.headers.contains_key(EXPECT) && body.is_end_stream();
    // Read the whole body first: the client has sent all of a call that then waits, fails or dies.
    let body = read_body(body).await?;
    let call = Call::of(&parts, &body);
    let mut response = take_effect(account, call, parts, body).await?;
    if skips_continue {
        // Without a body, hyper sends no "100 Continue". RFC 9110 permits that (section 10.1.1), but botocore then
        // misreads the next answer on the connection, and the AWS CLI hangs.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Leads one call through gate and faults to its service, and returns the answer.
pub(crate) async fn take_effect(
    account: Weak<Inner>,
    mut call: Call,
    parts: Parts,
    body: Bytes,
) -> Result<Response<Body>, Dropped> {
    let inner = account.upgrade().ok_or(Dropped)?;
    let cloud = Cloud { inner };
    let service = call.service;

    let pass = cloud.inner.gate.pass(&call).await;
    if cloud.inner.faults.is_dead(&call.client) {
        drop(pass);
        return hang().await;
    }
    let faults = cloud.inner.faults.strike(&call);
    cloud.inner.calls.begin(&mut call);

    let refusal = strike_before(&cloud, &call, &faults).await?;
    // The client may have died in the meantime, of this call or of another one.
    if cloud.inner.faults.is_dead(&call.client) {
        drop(pass);
        return hang().await;
    }

    let authorizer = cloud.authorizer(&call.client);
    let mut response = match refusal {
        Some(response) => response,
        None if !is_allowed(authorizer.as_ref(), &call, None) => denied(service),
        None if let Some(refusal) = cloud.inner.regions.refusal(&call, &parts) => refusal,
        None => serve(&cloud, service, parts, body, call.sequence, &faults).await?,
    };
    let is_s3_404 = service == Service::S3 && response.status() == 404;
    if is_s3_404 && !is_allowed(authorizer.as_ref(), &call, Some(404)) {
        response = denied(service);
    }

    if is_upload(&call) && response.status().is_success() {
        cloud.notify(&call);
    }

    for fault in &faults {
        match &fault.does {
            Does::RefuseAfter { status, code, message } => response = error(service, *status, code, message),
            Does::Truncate(size_bytes) => response = truncated(response, *size_bytes),
            Does::DropAfter => return Err(Dropped),
            Does::DieAfter => {
                cloud.inner.faults.die(&call.client);
                drop(pass);
                return hang().await;
            }
            _ => {}
        }
    }
    cloud.inner.faults.delay(service).await;
    let status = response.status().as_u16();
    cloud.inner.calls.end(call, status, size_bytes(&response));
    Ok(response)
}

/// Carries out the faults that strike before the call takes effect. Returns the answer of a fault that refuses it.
async fn strike_before(cloud: &Cloud, call: &Call, faults: &[Fault]) -> Result<Option<Response<Body>>, Dropped> {
    let mut refusal = None;
    for fault in faults {
        match &fault.does {
            Does::Delay(delay) => tokio::time::sleep(*delay).await,
            Does::Refuse { status, code, message } => refusal = Some(error(call.service, *status, code, message)),
            Does::DropBefore => return Err(Dropped),
            Does::DieBefore => cloud.inner.faults.die(&call.client),
            _ => {}
        }
    }
    Ok(refusal)
}

fn is_allowed(authorizer: Option<&Authorizer>, call: &Call, status: Option<u16>) -> bool {
    authorizer.is_none_or(|authorizer| authorizer(call, status))
}

/// Never answers. The connection ends when the client goes away.
async fn hang() -> Result<Response<Body>, Dropped> {
    future::pending().await
}

/// Lets the service answer.
async fn serve(
    cloud: &Cloud,
    service: Service,
    parts: Parts,
    body: Bytes,
    sequence: usize,
    faults: &[Fault],
) -> Result<Response<Body>, Dropped> {
    match service {
        Service::S3 => {
            let mut request = Request::from_parts(parts, Body::from(body));
            request.extensions_mut().insert(RefusedKeys::of(faults));
            cloud.inner.s3.call(request).await.map_err(|_| Dropped)
        }
        Service::CloudFront => {
            let body = String::from_utf8_lossy(&body);
            let answer = cloud.inner.cloudfront.answer(&parts, &body, sequence);
            Ok(answer.unwrap_or_else(|refusal| error(service, refusal.status, refusal.code, &refusal.message)))
        }
        Service::DynamoDb => Ok(cloud.inner.dynamodb.answer(&parts, &body)),
        Service::Lambda => Ok(cloud.inner.functions.answer(&parts, &body).await),
        Service::Sqs => Ok(cloud.inner.functions.answer_queue(&parts, &body)),
        Service::CloudWatch => Ok(cloud.inner.cloudwatch.answer(&parts)),
        Service::Iam => Ok(cloud.inner.iam.answer(&String::from_utf8_lossy(&body))),
    }
}
