//! The server as a whole, through what happens to it.

mod access_log;
mod browser;
mod crash;
mod disk;
mod doubt;
mod files;
mod interrupted;
mod load;
mod locked;
mod logs;
mod memory;
mod nodes;
mod outage;
mod plans;
pub mod process;
mod refused;
mod stalled;
mod stopped;
mod upgrade;
mod writers;
