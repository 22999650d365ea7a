//! nchan, a module of nginx, which the benchmark of streams is held against.

use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What Debian and its kin call the package.
pub const PACKAGE: &str = "libnginx-mod-nchan";

/// Where it is.
#[derive(Debug)]
pub struct Nchan {
    /// The program of nginx.
    pub nginx: PathBuf,
    pub module: PathBuf,
    /// As the package says.
    pub version: String,
}

impl Nchan {
    /// Looks where Debian puts it; `None` where it is not installed.
    #[must_use]
    pub fn find() -> Option<Self> {
        let module = PathBuf::from("/usr/lib/nginx/modules/ngx_nchan_module.so");
        // Debian keeps the program where only root looks.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = std::env::split_paths(&path).chain(iter::once(Path::new("/usr/sbin").to_owned()));
        let nginx = folders.find_map(|folder| Some(folder.join("nginx")).filter(|nginx| nginx.is_file()))?;
        let said =
            Command::new("dpkg-query").args(["--show", "--showformat=${Version}", PACKAGE]).output().ok()?;
        let version = String::from_utf8_lossy(&said.stdout).into_owned();
        (module.is_file() && said.status.success()).then_some(Self { nginx, module, version })
    }
}
