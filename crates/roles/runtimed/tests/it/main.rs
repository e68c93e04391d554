//! runtimed on the in-process API server, with a Runtime Server in the test's hand.

mod life;
mod output;
mod readiness;
mod restart;
mod server;
mod world;
