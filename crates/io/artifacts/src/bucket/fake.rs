//! A server that speaks as much of S3 as a store needs, refuses what S3 refuses, and can be told to fail.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(super) const BUCKET: &str = "b";
pub(super) const KEY_ID: &str = "AKID";
/// Objects in one page of a list.
const PAGE: usize = 2;

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// Every request ends so.
    Refuses(u16, &'static str),
    /// No request of this method is answered.
    Silent(&'static str),
    /// Parts from this number on end with 503.
    PartsFrom(usize),
    /// No part is answered before so many were on their way at once.
    Waits(usize),
    /// It keeps half of what it is given.
    Truncates,
    /// Every deletion ends so; with 404 it is done.
    Deletions(u16),
    /// The first requests end with 503.
    Busy(usize),
}

/// An upload in parts.
#[derive(Debug, Clone, Default)]
pub(super) struct Begun {
    pub(super) key: String,
    pub(super) initiated: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) parts: BTreeMap<usize, Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) trouble: Trouble,
    pub(super) objects: BTreeMap<String, (Vec<u8>, BTreeMap<String, String>)>,
    pub(super) uploads: BTreeMap<String, Begun>,
    /// Methods and queries, as they came.
    pub(super) requests: Vec<String>,
    /// Parts that were on their way at once.
    pub(super) parts_at_once: usize,
    begun: usize,
    number: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Fake {
    pub(super) address: std::net::SocketAddr,
    state: Arc<Mutex<State>>,
    parts: Arc<watch::Sender<usize>>,
}

type Answer = Response<Full<Bytes>>;

impl Fake {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            trouble: Trouble::None,
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            requests: Vec::new(),
            parts_at_once: 0,
            begun: 0,
            number: 0,
        }));
        let fake = Self { address, state, parts: Arc::default() };
        let own = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = own.clone();
                let service = service_fn(move |request| {
                    let own = own.clone();
                    async move { Ok::<_, Infallible>(own.answer(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        fake
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let path = head.uri.path().trim_start_matches('/').to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let trouble = self.look(|state| {
            state.requests.push(format!("{} {query}", head.method));
            state.trouble
        });
        if matches!(trouble, Trouble::Silent(method) if head.method == method) {
            std::future::pending::<()>().await;
        }
        let is_part = query.contains("partNumber=");
        self.look(|state| {
            state.begun += usize::from(is_part);
            state.parts_at_once = state.parts_at_once.max(state.begun);
            self.parts.send_replace(state.parts_at_once);
        });
        let body = body.collect().await.unwrap().to_bytes();
        if let (true, Trouble::Waits(many)) = (is_part, trouble) {
            self.parts.subscribe().wait_for(|parts| *parts >= many).await.unwrap();
        }
        let signature = head.headers.get("authorization").and_then(|text| text.to_str().ok());
        let answer = if let Trouble::Refuses(status, code) = trouble {
            error(status, code)
        } else if !query.contains(&format!("X-Amz-Credential={KEY_ID}%2F"))
            && !signature.is_some_and(|text| {
                text.starts_with(&format!("AWS4-HMAC-SHA256 Credential={KEY_ID}/"))
                    && head.headers.contains_key("x-amz-content-sha256")
            })
        {
            error(403, "AccessDenied")
        } else {
            let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
            let headers = head.headers.iter();
            let headers = headers
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            match bucket {
                BUCKET => self.look(|state| state.serve(&head.method, key, &query, headers, &body)),
                _ => error(404, "NoSuchBucket"),
            }
        };
        self.look(|state| state.begun -= usize::from(is_part));
        answer
    }
}

impl State {
    fn serve(
        &mut self,
        method: &Method,
        key: &str,
        query: &str,
        headers: BTreeMap<String, String>,
        body: &[u8],
    ) -> Answer {
        if let Trouble::Busy(left @ 1..) = self.trouble {
            self.trouble = Trouble::Busy(left - 1);
            return error(503, "SlowDown");
        }
        let parameter = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(&format!("{name}=")))
                .map(str::to_owned)
        };
        let (upload, part) = (parameter("uploadId"), parameter("partNumber"));
        let kept = if self.trouble == Trouble::Truncates { &body[..body.len() / 2] } else { body };
        match (method.as_str(), upload, part) {
            ("PUT", Some(upload), Some(part)) => self.part(&upload, part.parse().unwrap(), kept),
            ("PUT", None, None) => {
                self.objects.insert(key.to_owned(), (kept.to_vec(), headers));
                ok("")
            }
            ("POST", None, None) if query == "uploads=" || query == "uploads" => {
                self.number += 1;
                let upload = format!("u{}", self.number);
                let begun = Begun { key: key.to_owned(), headers, ..Begun::default() };
                self.uploads.insert(upload.clone(), begun);
                ok(&format!(
                    "<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            ("POST", Some(upload), None) => self.complete(key, &upload),
            ("DELETE", Some(upload), None) => {
                self.uploads.remove(&upload);
                ok("")
            }
            ("DELETE", None, None) => {
                let answer = self.answer_to_deletion();
                if matches!(answer.status().as_u16(), 200 | 404) {
                    self.objects.remove(key);
                }
                answer
            }
            ("GET", None, None) if query.split('&').any(|pair| pair == "uploads=") => {
                self.begun(&parameter)
            }
            ("GET", None, None) if key.is_empty() => self.list(&parameter),
            ("GET" | "HEAD", None, None) => self.read(key, headers.get("range")),
            _ => error(400, "InvalidRequest"),
        }
    }

    fn answer_to_deletion(&self) -> Answer {
        if let Trouble::Deletions(status) = self.trouble {
            return error(status, if status == 404 { "NoSuchKey" } else { "AccessDenied" });
        }
        ok("")
    }

    fn part(&mut self, upload: &str, number: usize, body: &[u8]) -> Answer {
        if matches!(self.trouble, Trouble::PartsFrom(first) if number >= first) {
            return error(503, "SlowDown");
        }
        match self.uploads.get_mut(upload) {
            Some(begun) => {
                begun.parts.insert(number, body.to_vec());
                ok("")
            }
            None => error(404, "NoSuchUpload"),
        }
    }

    fn complete(&mut self, key: &str, upload: &str) -> Answer {
        let Some(Begun { headers, parts, .. }) = self.uploads.remove(upload) else {
            return error(404, "NoSuchUpload");
        };
        let parts: Vec<Vec<u8>> = parts.into_values().collect();
        let small = |part: &Vec<u8>| part.len() < 5 << 20 && self.trouble != Trouble::Truncates;
        if parts.iter().rev().skip(1).any(small) {
            return error(400, "EntityTooSmall");
        }
        self.objects.insert(key.to_owned(), (parts.concat(), headers));
        ok("<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>")
    }

    fn read(&self, key: &str, range: Option<&String>) -> Answer {
        let Some((bytes, headers)) = self.objects.get(key) else { return error(404, "NoSuchKey") };
        let mut answer = Response::builder()
            .header("etag", "\"e\"")
            .header("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT");
        let told = headers.iter().filter(|(name, _)| name.starts_with("x-amz-meta-"));
        for (name, value) in told {
            answer = answer.header(name, value);
        }
        let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else {
            let answer = answer.header("content-length", bytes.len());
            return answer.body(Full::from(bytes.clone())).unwrap();
        };
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap());
        answer
            .status(StatusCode::PARTIAL_CONTENT)
            .header("content-range", format!("bytes {from}-{to}/{}", bytes.len()))
            .body(Full::from(bytes[from..=to].to_vec()))
            .unwrap()
    }

    fn begun(&self, parameter: &impl Fn(&str) -> Option<String>) -> Answer {
        let given = |name: &str| parameter(name).unwrap_or_default().replace("%2F", "/");
        let (prefix, after) = (given("prefix"), given("upload-id-marker"));
        let found = self.uploads.iter().filter(|(_, begun)| begun.key.starts_with(&prefix));
        let all: Vec<_> = found.filter(|(id, _)| after.is_empty() || **id > after).collect();
        let mut answer = String::from("<ListMultipartUploadsResult>");
        if let (Some((id, begun)), true) = (all.get(PAGE - 1), all.len() > PAGE) {
            answer.push_str(&format!(
                "<NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>",
                escaped(&begun.key)
            ));
        }
        answer.push_str(&format!("<IsTruncated>{}</IsTruncated>", all.len() > PAGE));
        for (id, begun) in all.into_iter().take(PAGE) {
            answer.push_str(&format!(
                "<Upload><Key>{}</Key><UploadId>{}</UploadId><Initiated>{}</Initiated></Upload>",
                escaped(&begun.key),
                escaped(id),
                begun.initiated
            ));
        }
        ok(&format!("{answer}</ListMultipartUploadsResult>"))
    }

    fn list(&self, parameter: &impl Fn(&str) -> Option<String>) -> Answer {
        let given = |name: &str| parameter(name).unwrap_or_default().replace("%2F", "/");
        let (prefix, delimiter) = (given("prefix"), given("delimiter"));
        let after = given("continuation-token").max(given("start-after"));
        // With a delimiter what lies deeper is one entry, whose name ends with it.
        let entry = |key: &String| {
            let deeper = (!delimiter.is_empty()).then(|| key[prefix.len()..].find(&delimiter));
            deeper.flatten().map_or(key.clone(), |at| key[..=prefix.len() + at].to_owned())
        };
        let found = self.objects.keys().filter(|key| key.starts_with(&prefix) && **key > after);
        let mut entries: Vec<String> = found.map(entry).collect();
        entries.dedup();
        // A token is the last entry: it comes once.
        entries.retain(|entry| *entry > after);
        let mut answer = String::from("<ListBucketResult>");
        for key in entries.iter().take(PAGE) {
            answer.push_str(&if key.ends_with('/') {
                format!("<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>")
            } else {
                format!(
                    "<Contents><Key>{key}</Key><Size>1</Size><LastModified>1970-01-01T00:00:00.000Z</LastModified>\
                     </Contents>"
                )
            });
        }
        if entries.len() > PAGE {
            let last = &entries[PAGE - 1];
            answer.push_str(&format!("<NextContinuationToken>{last}</NextContinuationToken>"));
        }
        ok(&format!("{answer}</ListBucketResult>"))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&#34;")
}

fn ok(body: &str) -> Answer {
    Response::builder().header("etag", "\"e\"").body(Full::from(body.to_owned())).unwrap()
}

fn error(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>said\nby the store</Message></Error>");
    Response::builder().status(status).body(Full::from(body)).unwrap()
}
