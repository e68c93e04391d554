//! An object, read in ranges: each is a request of its own with its timeout, so that a slow reader holds none open.

use super::Bucket;
use super::fault::Fault;
use crate::keep::Stop;
use bytes::{Buf, Bytes};
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use std::io::{self, Read};
use std::sync::Arc;

/// Bytes of one range; each reader has one in memory.
const RANGE: u64 = 1 << 20;

/// An object.
#[derive(Debug)]
pub(crate) struct Object {
    bucket: Bucket,
    client: Arc<AmazonS3>,
    key: Path,
    size: u64,
    next: u64,
    range: Bytes,
    stop: Stop,
}

impl Object {
    pub(super) fn new(
        bucket: Bucket,
        client: Arc<AmazonS3>,
        key: Path,
        size: u64,
        stop: Stop,
    ) -> Self {
        Self { bucket, client, key, size, next: 0, range: Bytes::new(), stop }
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.range.is_empty() && self.next < self.size {
            let end = self.size.min(self.next + RANGE);
            let getting = self.client.get_range(&self.key, self.next..end);
            self.range = self.bucket.wait(Some(&self.stop), self.bucket.deadline(), getting)?;
            let (has, sent) = (self.range.len() as u64, end - self.next);
            if has != sent {
                return Err(Fault::Short { has, sent }.into());
            }
            self.next = end;
        }
        let length = buffer.len().min(self.range.len());
        self.range.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
