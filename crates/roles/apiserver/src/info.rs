//! What is served besides objects: health, version, discovery, OpenAPI.
use http::request::Parts;
use http::{Method, Response};
use kruntimes_objects::status::Failure;
use kruntimes_objects::{discovery, openapi, openapi_v2};
use serde_json::json;

use crate::body::Body;
use crate::call::segments;
use crate::negotiate;
use crate::respond;
use crate::server::ApiServer;

impl ApiServer {
    /// What is answered to everybody, without a token.
    pub(crate) fn open_info(&self, path: &str) -> Option<Response<Body>> {
        match segments(path).first().map(String::as_str) {
            Some("version") => Some(respond::value(200, &version())),
            Some("healthz" | "livez" | "readyz") => Some(self.health()),
            Some(_) | None => None,
        }
    }

    fn health(&self) -> Response<Body> {
        match self.shared.failure() {
            None => respond::with_type(200, "text/plain", Body::full("ok")),
            Some(why) => {
                let text = format!("the store has failed: {why}");
                respond::with_type(500, "text/plain", Body::full(text))
            }
        }
    }

    /// Answers a path that is no resource; `None` if it may be one.
    pub(crate) fn info(
        &self,
        parts: &Parts,
        path: &[String],
    ) -> Result<Option<Response<Body>>, Failure> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let registry = self.shared.registry();
        let document = match path.as_slice() {
            ["healthz" | "livez" | "readyz", ..] => return Ok(Some(self.health())),
            ["version"] => Some(Some(version())),
            ["api"] | ["apis"] => {
                only_get(parts)?;
                let core = path == ["api"];
                return Ok(Some(match negotiate::aggregated(&parts.headers)? {
                    Some(version) => {
                        aggregated(&discovery::aggregated(&registry, core, version), version)
                    }
                    None if core => respond::value(200, &discovery::core_versions()),
                    None => respond::value(200, &discovery::group_list(&registry)),
                }));
            }
            ["api", version] => Some(discovery::resource_list(&registry, "", version)),
            ["apis", group] => Some(discovery::group(&registry, group)),
            ["apis", group, version] => Some(discovery::resource_list(&registry, group, version)),
            ["openapi", "v2"] => {
                only_get(parts)?;
                negotiate::openapi_v2(&parts.headers)?;
                let body = Body::full(openapi_v2::document(&registry));
                return Ok(Some(respond::with_type(200, openapi_v2::MEDIA_TYPE, body)));
            }
            ["openapi", "v3"] => Some(Some(openapi::index(&registry))),
            ["openapi", "v3", "api", version] => Some(openapi::document(&registry, "", version)),
            ["openapi", "v3", "apis", group, version] => {
                Some(openapi::document(&registry, group, version))
            }
            ["api" | "apis", ..] => None,
            _ => return Err(Failure::no_such_path()),
        };
        let Some(document) = document else { return Ok(None) };
        only_get(parts)?;
        let document = document.ok_or_else(Failure::no_such_path)?;
        negotiate::json(&parts.headers)?;
        Ok(Some(respond::value(200, &document)))
    }
}

fn only_get(parts: &Parts) -> Result<(), Failure> {
    if parts.method == Method::GET || parts.method == Method::HEAD {
        return Ok(());
    }
    let what = format!("{} is not supported on {}", parts.method, parts.uri.path());
    Err(Failure::method_not_allowed(what))
}

fn version() -> serde_json::Value {
    json!({
        "major": "1", "minor": "34", "gitVersion": "v1.34.0+kruntimes", "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

fn aggregated(document: &serde_json::Value, version: &str) -> Response<Body> {
    let media = if version == "v2" {
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    } else {
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    };
    respond::with_type(200, media, Body::full(document.to_string()))
}
