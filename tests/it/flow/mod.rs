//! The server as a whole, through what happens to it.

mod crash;
mod disk;
mod files;
mod load;
mod logs;
mod outage;
mod plans;
pub mod process;
mod writers;
