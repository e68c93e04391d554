//! What a bucket has of Runs that there may be no more. Others may share it.
//!
//! Invariant: nothing is removed but what has a key of our layout and says of itself that it is of this cluster and of that Run.

use super::fault;
use super::upload::{CLUSTER, RUN_UID};
use super::{Bucket, Path};
use crate::keep::Stop;
use crate::store::Place;
use futures::TryStreamExt;
use kruntimes_rules::artifact::{check_name, is_run_uid, key_prefix};
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::{Attribute, GetOptions, ListResult, ObjectStore, ObjectStoreExt};
use std::collections::BTreeSet;
use std::io;

/// Keys in one page of a list.
const PAGE: usize = 1000;
/// Objects of one Run that are looked at; it has at most 32 artifacts, and a log an attempt.
const OBJECTS: usize = 256;
const DELIMITER: &str = "/";
/// What follows the delimiter in the order of keys: with it a list begins behind all of a Run.
const BEHIND: char = '0';

/// A stretch of what a bucket has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// UIDs of Runs that there is something of.
    pub run_uids: BTreeSet<String>,
    /// Where the next stretch begins; none behind the last one.
    pub next: Option<String>,
}

/// What became of the objects below a Run's UID.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// So many were ours, and are gone.
    pub removed: usize,
    /// So many are others'.
    pub others: usize,
}

impl Bucket {
    /// The Runs of a namespace that it has something of: so many pages, from where an earlier stretch ended.
    ///
    /// # Errors
    /// The bucket can't be read. One that is not there has nothing.
    pub fn runs(
        &self,
        namespace: &str,
        from: Option<&str>,
        pages: usize,
        stop: &Stop,
    ) -> io::Result<Listed> {
        let (client, prefix) = (self.client()?, self.of_namespace(namespace)?);
        let listing = list(&client, &prefix, from, pages);
        match self.wait(Some(stop), self.deadline(), listing) {
            Err(error) if fault::is_without_bucket(&error) => {
                Ok(Listed { run_uids: BTreeSet::new(), next: None })
            }
            listed => listed,
        }
    }

    /// Removes what it has of a Run that there is no more, as far as it is of this cluster.
    ///
    /// # Errors
    /// Something of it may stay.
    pub fn remove_own(&self, place: Place<'_>, stop: &Stop) -> io::Result<Own> {
        let Some(cluster) = &self.cluster else { return Ok(Own::default()) };
        let (client, own) = (self.client()?, self.own(place)?);
        let removing = async {
            let mut objects = client.list(Some(&own));
            let (mut done, mut looked_at) = (Own::default(), 0);
            while let Some(object) = objects.try_next().await? {
                looked_at += 1;
                if looked_at > OBJECTS {
                    break;
                }
                if is_of(&client, &object.location, &own, place.run_uid, cluster).await? {
                    gone(client.delete(&object.location).await)?;
                    done.removed += 1;
                } else {
                    done.others += 1;
                }
            }
            Ok(done)
        };
        self.wait(Some(stop), self.deadline(), removing)
    }

    /// Whether what it takes says of which cluster it is.
    #[must_use]
    pub const fn marks(&self) -> bool {
        self.cluster.is_some()
    }

    /// What all keys of a namespace's Runs begin with.
    pub(super) fn of_namespace(&self, namespace: &str) -> io::Result<String> {
        check_name(namespace.as_bytes()).map_err(io::Error::other)?;
        let all = key_prefix(self.prefix.as_deref(), namespace, "");
        let path = Path::parse(all.trim_end_matches('/')).map_err(io::Error::other)?;
        Ok(format!("{path}/"))
    }
}

async fn list(
    client: &AmazonS3,
    prefix: &str,
    from: Option<&str>,
    pages: usize,
) -> object_store::Result<Listed> {
    let mut listed = Listed { run_uids: BTreeSet::new(), next: None };
    let mut token = None;
    for _ in 0..pages {
        let options = PaginatedListOptions {
            offset: from.map(|from| format!("{prefix}{from}")),
            delimiter: Some(DELIMITER.into()),
            max_keys: Some(PAGE),
            page_token: token.take(),
            ..PaginatedListOptions::default()
        };
        let page = client.list_paginated(Some(prefix), options).await?;
        let names = page.result.common_prefixes.iter().filter_map(Path::filename);
        listed.run_uids.extend(names.filter(|name| is_run_uid(name)).map(str::to_owned));
        token = page.page_token;
        if token.is_none() {
            listed.next = None;
            return Ok(listed);
        }
        listed.next = end(&page.result).or(listed.next);
    }
    Ok(listed)
}

/// Where the next list begins.
fn end(page: &ListResult) -> Option<String> {
    let groups = page.common_prefixes.iter().filter_map(Path::filename);
    let groups = groups.map(|name| format!("{name}{BEHIND}"));
    let single = page.objects.iter().filter_map(|object| object.location.filename());
    groups.chain(single.map(str::to_owned)).max()
}

async fn is_of(
    client: &AmazonS3,
    key: &Path,
    own: &Path,
    run_uid: &str,
    cluster: &str,
) -> object_store::Result<bool> {
    // No artifact has a name with a delimiter.
    if key.prefix_match(own).is_none_or(|names| names.count() != 1) {
        return Ok(false);
    }
    let options = GetOptions { head: true, ..GetOptions::default() };
    let says = match client.get_opts(key, options).await {
        Err(object_store::Error::NotFound { .. }) => return Ok(false),
        answer => answer?.attributes,
    };
    let says = |name: &'static str| says.get(&Attribute::Metadata(name.into())).map(AsRef::as_ref);
    Ok(says(CLUSTER) == Some(cluster) && says(RUN_UID) == Some(run_uid))
}

/// What is gone already is gone.
fn gone(removed: object_store::Result<()>) -> object_store::Result<()> {
    match removed {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        removed => removed,
    }
}
