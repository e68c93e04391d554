//! Uploads in parts that nobody will end: the parts of what a crash has cut off are in no list of objects, and are paid for.
//!
//! Whose an upload is the bucket does not say. So only those go that no process of any cluster can still be at: of a key of our
//! layout, begun a day ago by the bucket's own clock, where an upload may take 20 minutes.

use super::Bucket;
use super::fault;
use crate::keep::Stop;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use kruntimes_rules::artifact::is_run_uid;
use object_store::aws::AmazonS3;
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, HttpResponse};
use object_store::client::{HttpResponseBody, ReqwestConnector};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use std::error::Error;
use std::io;
use std::time::Duration;

/// How old an upload is that nobody is at any more.
const OLD: SignedDuration = SignedDuration::from_hours(24);
/// How long a request may take to the bucket, by both clocks.
const SIGNED_FOR: Duration = Duration::from_secs(300);
/// Pages of a list, and uploads that are aborted in one look.
const PAGES: usize = 10;
const PAGE: &str = "1000";
const ABORTED: usize = 200;
/// Bytes of an answer at most.
const ANSWER_BYTES: usize = 4 << 20;

impl Bucket {
    /// Aborts the uploads of a namespace's Runs that were cut off, and says how many.
    ///
    /// # Errors
    /// They can't be listed, or one can't be aborted. A bucket that is not there has none.
    pub fn abort_cut_off(&self, namespace: &str, stop: &Stop) -> io::Result<usize> {
        let (client, prefix) = (self.client()?, self.of_namespace(namespace)?);
        let http = ReqwestConnector::default().connect(&self.options).map_err(io::Error::other)?;
        match self.wait(Some(stop), self.deadline(), abort(&client, &http, &prefix)) {
            Err(error) if fault::is_without_bucket(&error) => Ok(0),
            aborted => aborted,
        }
    }
}

async fn abort(client: &AmazonS3, http: &HttpClient, prefix: &str) -> object_store::Result<usize> {
    let (mut aborted, mut marker) = (0, None);
    for _ in 0..PAGES {
        let (page, now) = page(client, http, prefix, marker).await?;
        for upload in old(&page, prefix, now) {
            if aborted == ABORTED {
                return Ok(aborted);
            }
            match client.abort_multipart(&upload.key, &upload.id).await {
                Err(object_store::Error::NotFound { .. }) => {}
                done => done?,
            }
            aborted += 1;
        }
        marker = next(&page);
        if marker.is_none() {
            break;
        }
    }
    Ok(aborted)
}

/// A page of all uploads, and the time by the bucket's clock. The crate has no such request, but signs one.
async fn page(
    client: &AmazonS3,
    http: &HttpClient,
    prefix: &str,
    marker: Option<(String, String)>,
) -> object_store::Result<(String, Timestamp)> {
    let (key, id) = marker.unzip();
    let markers = [("key-marker", key), ("upload-id-marker", id)];
    let markers = markers.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query = [
        ("uploads", String::new()),
        ("max-uploads", PAGE.to_owned()),
        ("prefix", prefix.to_owned()),
    ];
    let options = SignedUrlOptions::new().with_query(query.into_iter().chain(markers));
    let url = client.signed_url_opts(Method::GET, &Path::ROOT, SIGNED_FOR, &options).await?;
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.uri_mut() = url.as_str().parse().map_err(generic)?;
    // What goes wrong on the way names the address with its signature.
    let sent = http.execute(request).await;
    let response = sent.map_err(|error| generic(format!("no answer: {:?}", error.kind())))?;
    let (now, is_list) = (time(&response), response.status().is_success());
    let body = text(response.into_body()).await?;
    if !is_list {
        return Err(generic(body));
    }
    Ok((body, now.ok_or_else(|| generic("it does not say what time it is"))?))
}

fn generic(error: impl Into<Box<dyn Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: error.into() }
}

fn time(response: &HttpResponse) -> Option<Timestamp> {
    let date = response.headers().get("date")?.to_str().ok()?;
    jiff::fmt::rfc2822::parse(date).ok().map(|time| time.timestamp())
}

async fn text(body: HttpResponseBody) -> object_store::Result<String> {
    let (mut bytes, mut all) = (body.bytes_stream(), Vec::new());
    while let Some(chunk) = bytes.next().await {
        all.extend_from_slice(&chunk.map_err(|_| generic("its answer was cut off"))?);
        if all.len() > ANSWER_BYTES {
            return Err(generic("its answer is too long"));
        }
    }
    String::from_utf8(all).map_err(generic)
}

struct Upload {
    key: Path,
    id: String,
}

/// The uploads of a page that nobody is at any more.
fn old<'a>(page: &'a str, prefix: &'a str, now: Timestamp) -> impl Iterator<Item = Upload> + 'a {
    page.split("<Upload>").skip(1).filter_map(move |upload| {
        let begun: Timestamp = between(upload, "Initiated")?.parse().ok()?;
        let (key, id) = (between(upload, "Key")?, between(upload, "UploadId")?);
        let (uid, name) = key.strip_prefix(prefix)?.split_once('/')?;
        let is_ours = is_run_uid(uid) && !name.is_empty() && !name.contains('/');
        let key = Path::parse(&key).ok().filter(|path| path.as_ref() == key)?;
        (is_ours && now.duration_since(begun) > OLD).then_some(Upload { key, id })
    })
}

fn next(page: &str) -> Option<(String, String)> {
    let markers = (between(page, "NextKeyMarker")?, between(page, "NextUploadIdMarker")?);
    (between(page, "IsTruncated")? == "true").then_some(markers)
}

/// The text of the first element of this name.
fn between(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    unescaped(text)
}

fn unescaped(text: &str) -> Option<String> {
    let mut pieces = text.split('&');
    let mut plain = pieces.next()?.to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once(';')?;
        plain.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            number => {
                let number = number.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                char::from_u32(code.ok()?)?
            }
        });
        plain.push_str(rest);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::fake::{Begun, Trouble};
    use crate::bucket::tests::World;
    use std::collections::BTreeSet;
    use tokio::task::spawn_blocking;

    const RUN: &str = "p/q/namespaces/ns/runs/11111111-1111-4111-8111-111111111111";

    impl World {
        fn begin(&self, id: &str, key: &str, ago: SignedDuration) {
            let begun = Begun {
                key: key.to_owned(),
                initiated: (Timestamp::now() - ago).to_string(),
                ..Begun::default()
            };
            self.fake.look(|state| state.uploads.insert(id.to_owned(), begun));
        }

        async fn aborted(&self) -> io::Result<usize> {
            let bucket = self.bucket.clone();
            let aborting = move || bucket.abort_cut_off("ns", &Stop::default());
            spawn_blocking(aborting).await.unwrap()
        }

        fn uploads(&self) -> BTreeSet<String> {
            self.fake.look(|state| state.uploads.keys().cloned().collect())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn uploads_that_nobody_is_at_any_more_are_aborted_on_all_pages_and_no_others() {
        let world = World::start().await;
        let (old, young) = (OLD + SignedDuration::from_mins(5), OLD - SignedDuration::from_mins(5));
        let goes = [("u1", "a"), ("u2", "b"), ("u3", "c"), ("u4", "d <&> 'ü\" +%2F")];
        for (id, name) in goes {
            world.begin(id, &format!("{RUN}/{name}"), old);
        }
        let stays = [
            ("young", format!("{RUN}/young"), young),
            ("deeper", format!("{RUN}/a/b"), old),
            ("nameless", format!("{RUN}/"), old),
            ("no-uid", "p/q/namespaces/ns/runs/u-1/f".to_owned(), old),
            ("other-namespace", RUN.replace("/ns/", "/other/") + "/f", old),
            ("other-prefix", RUN.replace("p/q/", "p/") + "/f", old),
            ("somebodys", "backup.tar".to_owned(), old),
        ];
        for (id, key, ago) in &stays {
            world.begin(id, key, *ago);
        }
        assert_eq!(world.aborted().await.unwrap(), goes.len());
        assert_eq!(world.uploads(), stays.map(|(id, ..)| id.to_owned()).into());
        assert_eq!(world.aborted().await.unwrap(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_bucket_that_lists_no_uploads_says_so_and_one_that_is_gone_has_none() {
        let world = World::start().await;
        world.begin("a", &format!("{RUN}/a"), OLD * 2);
        world.fake.look(|state| state.trouble = Trouble::Refuses(404, "NoSuchBucket"));
        assert_eq!(world.aborted().await.unwrap(), 0);
        world.fake.look(|state| state.trouble = Trouble::Refuses(403, "AccessDenied"));
        let said = world.aborted().await.unwrap_err().to_string();
        assert!(said.contains("refuses the credentials (AccessDenied"), "{said}");
        world.fake.look(|state| state.trouble = Trouble::Refuses(501, "NotImplemented"));
        let said = world.aborted().await.unwrap_err().to_string();
        assert!(said.contains("NotImplemented: said by the store"), "{said}");
        assert_eq!(world.uploads().len(), 1);
    }

    #[test]
    fn what_xml_escapes_comes_back_and_what_is_none_is_nothing() {
        for (text, plain) in [
            ("a&lt;b&gt;&amp;&quot;&apos;", Some("a<b>&\"'")),
            ("&#252;&#xfc;", Some("üü")),
            ("&", None),
            ("&nbsp;", None),
            ("&#xd800;", None),
            ("&#99999999999;", None),
        ] {
            assert_eq!(unescaped(text).as_deref(), plain, "{text}");
        }
    }
}
