//! The maintainer on the in-process API server.

#[cfg(test)]
mod buckets;
#[cfg(test)]
mod release;
#[cfg(test)]
mod serving;
