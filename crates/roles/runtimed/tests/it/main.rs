//! runtimed on the in-process API server, with a Runtime Server in the test's hand.

#[cfg(test)]
mod archive;
#[cfg(test)]
mod artifacts;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod environment;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod git;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod inputs;
#[cfg(test)]
mod lease;
#[cfg(test)]
mod life;
#[cfg(test)]
mod output;
#[cfg(test)]
mod outputs;
#[cfg(test)]
mod readiness;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod server;
mod shared;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod told;
#[cfg(test)]
mod world;
