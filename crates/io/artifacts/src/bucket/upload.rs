//! An artifact on its way into a bucket: as one request when it fits into a part, else in parts, a few at once.
//!
//! Invariants: a part is in memory only with its share of the bucket's memory, and who holds a share needs no other one to
//! go on; nothing takes its place in the bucket once it is to stop; the bucket says afterwards how much it has.

use super::Bucket;
use super::executor::executor;
use super::fault::Fault;
use crate::keep::Stop;
use crate::store::{Artifact, Place};
use kruntimes_api::ArtifactType;
use kruntimes_rules::artifact::{ARCHIVE_TYPE, SNIFFED_BYTES, media_type};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, MultipartUpload, ObjectStore, ObjectStoreExt, PutMultipartOptions,
    PutOptions, PutPayload,
};
use std::io::{self, Write};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What an object says of its Run, and of the cluster that it is of.
pub(super) const RUN_UID: &str = "kruntimes-run-uid";
pub(super) const CLUSTER: &str = "kruntimes-cluster";

/// One upload.
pub(super) struct Upload<'a> {
    bucket: &'a Bucket,
    client: Arc<AmazonS3>,
    key: Path,
    place: Place<'a>,
    artifact: Artifact<'a>,
    stop: &'a Stop,
    deadline: Instant,
    part: Vec<u8>,
    memory: Option<OwnedSemaphorePermit>,
    parts: Option<Box<dyn MultipartUpload>>,
    under_way: JoinSet<object_store::Result<()>>,
    sent: u64,
}

impl<'a> Upload<'a> {
    pub(super) fn new(
        bucket: &'a Bucket,
        place: Place<'a>,
        artifact: Artifact<'a>,
        stop: &'a Stop,
    ) -> io::Result<Self> {
        Ok(Self {
            client: bucket.client()?,
            key: bucket.key(place, artifact.name)?,
            bucket,
            place,
            artifact,
            stop,
            deadline: bucket.deadline(),
            part: Vec::new(),
            memory: None,
            parts: None,
            under_way: JoinSet::new(),
            sent: 0,
        })
    }

    /// All is written: it takes its place.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.parts.is_none() {
            let payload = PutPayload::from(std::mem::take(&mut self.part));
            self.sent += payload.content_length() as u64;
            let options =
                PutOptions { attributes: self.attributes(&payload), ..PutOptions::default() };
            let (client, key) = (Arc::clone(&self.client), self.key.clone());
            self.wait(async move { client.put_opts(&key, payload, options).await })?;
        } else {
            if !self.part.is_empty() {
                self.send_part()?;
            }
            self.until_under_way(0)?;
            if self.stop.is_fired() {
                return Err(io::Error::other("stopped"));
            }
            if let Some(mut parts) = self.parts.take() {
                let completed = self.wait(parts.complete());
                if completed.is_err() {
                    self.parts = Some(parts);
                }
                completed?;
            }
        }
        self.memory = None;
        self.check_size()
    }

    /// Nothing of it stays, as far as the bucket can be reached.
    pub(super) fn abandon(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        let under_way = &mut self.under_way;
        let aborting = async {
            under_way.shutdown().await;
            parts.abort().await
        };
        if let Err(error) = self.bucket.wait(None, self.bucket.deadline_of_abandoning(), aborting) {
            let key = self.key.as_ref();
            tracing::warn!(key, %error, "parts of an artifact that is not kept stay in the bucket until its own rules remove them");
        }
    }

    fn check_size(&self) -> io::Result<()> {
        let (client, key) = (Arc::clone(&self.client), self.key.clone());
        let has = self.wait(async move { client.head(&key).await })?.size;
        let sent = self.sent;
        if has == sent { Ok(()) } else { Err(Fault::Short { has, sent }.into()) }
    }

    fn send_part(&mut self) -> io::Result<()> {
        let part = std::mem::take(&mut self.part);
        let memory = self.memory.take();
        let payload = PutPayload::from(part);
        if self.parts.is_none() {
            let attributes = self.attributes(&payload);
            let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
            let (client, key) = (Arc::clone(&self.client), self.key.clone());
            let begun = async move { client.put_multipart_opts(&key, options).await };
            self.parts = Some(self.wait(begun)?);
        }
        self.until_under_way(self.bucket.parts_at_once - 1)?;
        self.sent += payload.content_length() as u64;
        if let Some(parts) = &mut self.parts {
            let sending = parts.put_part(payload);
            let sending = async move {
                let sent = sending.await;
                drop(memory);
                sent
            };
            self.under_way.spawn_on(sending, executor()?.handle());
        }
        Ok(())
    }

    /// Waits until no more than so many parts are under way.
    fn until_under_way(&mut self, most: usize) -> io::Result<()> {
        let (bucket, stop, deadline) = (self.bucket, self.stop, self.deadline);
        while self.under_way.len() > most {
            let next = self.under_way.join_next();
            bucket.wait(Some(stop), deadline, async {
                match next.await {
                    Some(ended) => ended?,
                    None => Ok(()),
                }
            })?;
        }
        Ok(())
    }

    fn wait<T>(&self, answer: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
        self.bucket.wait(Some(self.stop), self.deadline, answer)
    }

    /// What people see who look into the bucket. Its digest is known only when all of it is sent, so it is not among them.
    fn attributes(&self, begins: &PutPayload) -> Attributes {
        let head = begins.iter().next().map(AsRef::<[u8]>::as_ref).unwrap_or_default();
        let head = &head[..head.len().min(SNIFFED_BYTES)];
        let content_type = match self.artifact.kind {
            ArtifactType::Directory => ARCHIVE_TYPE,
            ArtifactType::File | ArtifactType::Archive | ArtifactType::Blob => {
                media_type(self.artifact.name, head)
            }
        };
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, content_type.to_owned().into());
        for (name, value) in [
            ("kruntimes-run-name", self.place.run_name),
            (RUN_UID, self.place.run_uid),
            ("kruntimes-namespace", self.place.namespace),
            ("kruntimes-runtime", self.place.runtime),
            ("kruntimes-artifact-name", self.artifact.name),
            ("kruntimes-artifact-type", self.artifact.kind.as_str()),
        ] {
            attributes.insert(Attribute::Metadata(name.into()), header(value).into());
        }
        if let Some(cluster) = &self.bucket.cluster {
            attributes.insert(Attribute::Metadata(CLUSTER.into()), header(cluster).into());
        }
        attributes
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full part waits for what follows: an artifact of one part needs one request.
        if self.part.len() == self.bucket.part_bytes && !bytes.is_empty() {
            self.send_part()?;
        }
        if self.memory.is_none() {
            let share = u32::try_from(self.bucket.part_bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
            let memory = Arc::clone(&self.bucket.memory);
            let taken = async move { Ok(memory.acquire_many_owned(share).await.ok()) };
            self.memory = self.wait(taken)?;
            if self.parts.is_some() {
                self.part.reserve_exact(self.bucket.part_bytes);
            }
        }
        let length = bytes.len().min(self.bucket.part_bytes - self.part.len());
        self.part.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A header holds visible ASCII: all else is written as in a URL.
fn header(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}
