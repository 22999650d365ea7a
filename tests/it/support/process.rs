//! Programs that a test starts, waits for and ends.

use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};
use std::time::Duration;

use super::found;

/// A program that ends with the test.
pub struct Running(pub Child);

impl Running {
    pub fn terminate(&self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Its exit code, in so much time.
    pub async fn end(&mut self, time: Duration) -> Option<i32> {
        found(time, "the process ends", async || self.0.try_wait().unwrap()).await.code()
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
