//! The tower service: one request in, one response out, as one user.
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response};
use hyper::body::Body as HttpBody;
use kruntimes_objects::status::Failure;

use crate::body::{self, Body};
use crate::call::{Call, Query, Verb, segments};
use crate::server::ApiServer;
use crate::user::User;
use crate::{policy, respond};

/// The API as one user has it; usable with `kube::Client::new`.
#[derive(Debug, Clone)]
pub struct ApiService {
    server: Arc<ApiServer>,
    user: Arc<User>,
}

impl ApiService {
    pub(crate) fn new(server: Arc<ApiServer>, user: Arc<User>) -> Self {
        Self { server, user }
    }
}

impl<B> tower::Service<Request<B>> for ApiService
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: fmt::Display,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (server, user) = (self.server.clone(), self.user.clone());
        Box::pin(async move { Ok(server.handle(&user, request).await) })
    }
}

impl ApiServer {
    /// Answers a request of `user`.
    pub(crate) async fn handle<B>(
        self: &Arc<Self>,
        user: &User,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: fmt::Display,
    {
        let (parts, body) = request.into_parts();
        self.answer(user, &parts, body).await.unwrap_or_else(|failure| respond::failure(&failure))
    }

    async fn answer<B>(
        self: &Arc<Self>,
        user: &User,
        parts: &Parts,
        body: B,
    ) -> Result<Response<Body>, Failure>
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: fmt::Display,
    {
        if let Some(why) = self.shared.failure() {
            return Err(Failure::internal(format!("the store has failed: {why}")));
        }
        let path = segments(parts.uri.path());
        if let Some(response) = self.info(parts, &path)? {
            return Ok(response);
        }
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let call = Call::resolve(&self.shared.registry(), &parts.method, &path, query)?;
        policy::authorize(user, &call)?;
        let read = match parts.method {
            Method::GET => body::Read::default(),
            _ => body::read(body, &self.bodies).await?,
        };
        let body = &read.bytes;
        match call.verb {
            Verb::Get if call.sub == "log" => self.pod_log(&call).await,
            Verb::Get => self.get(&call, parts),
            Verb::List => self.list(&call, parts),
            Verb::Watch => self.watch(call, parts),
            Verb::Create => self.create(user, &call, parts, body).await,
            Verb::Update => self.update(user, &call, parts, body).await,
            Verb::Patch => self.patch(user, &call, parts, body).await,
            Verb::Delete => self.delete(&call, parts, body).await,
            Verb::DeleteCollection => self.delete_collection(&call, parts, body).await,
        }
    }
}
