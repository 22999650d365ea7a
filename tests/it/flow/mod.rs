//! The server as a whole, through what happens to it.

mod crash;
mod outage;
mod writers;
