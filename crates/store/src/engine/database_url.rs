//! The address of a database, `store.url`: `sqlite:FILE` or `postgres://…`. It is read in one place, so that a check of
//! the configuration accepts what a start accepts.
//!
//! Errors are sentences that say what to write instead. They show no value of the address, which may hold a password.

use std::fmt;
use std::net::IpAddr;
use std::path::{PathBuf, absolute};

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// The parameters of `postgres://…` that tokio-postgres reads as libpq does.
const PARAMETERS: [&str; 13] = [
    "application_name",
    "channel_binding",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "target_session_attrs",
    "user",
];
/// Parameters whose values the program sets by itself.
const OWN_PARAMETERS: [&str; 7] = [
    "connect_timeout",
    "fallback_application_name",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "tcp_user_timeout",
];

const PERCENT: &str = "it is not readable: in user, password and the names behind the host write every character besides \
                       letters, digits and - . _ ~ percent-encoded, @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as \
                       %25";
const MANY_PORTS: &str = "it has another number of ports than of hosts: write each port behind its host, host:5433, and \
                          leave the parameters port and hostaddr away";

/// Where the conversations are kept.
#[derive(Debug, Clone)]
pub enum DatabaseUrl {
    Sqlite(PathBuf),
    /// Without settings of the program's own. Its `sslmode` is `require` or `disable`, and its `Debug` shows no password.
    Postgres(Config),
}

/// The encryption that `sslmode` asks for.
enum Encryption {
    /// TLS, with the server's certificate checked against the CA certificates of the system, and its name. PostgreSQL's
    /// own `require` does not check them; a connection that anybody could stand in for is no protection.
    Required,
    Disabled,
    /// Nothing is said; or `prefer` or `allow`, which leave it to the server and so are no decision.
    Unsaid,
}

impl DatabaseUrl {
    /// Reads an address. The error is a sentence.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.chars().any(char::is_control) || url.trim() != url {
            return Err(
                "it has a space at an end, a line break or another control character: remove it".into()
            );
        }
        match url.split_once(':') {
            Some(("sqlite", path)) => sqlite_path(path).map(Self::Sqlite),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                postgres(&rest[2..]).map(Self::Postgres)
            }
            _ => Err("found another kind of address, expected \"sqlite:\" and a file such as \
                      \"sqlite:wicara-data/wicara.db\", or \"postgres://user:password@host/database\""
                .into()),
        }
    }
}

/// For people, without a password: the full path of the file, or the hosts and the database.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", absolute(path).as_deref().unwrap_or(path).display()),
            Self::Postgres(config) => {
                let hosts = config.get_hosts().iter().map(|host| match host {
                    Host::Tcp(name) => name.clone(),
                    Host::Unix(path) => path.display().to_string(),
                });
                let addresses = config.get_hostaddrs().iter().map(IpAddr::to_string);
                let mut hosts: Vec<_> = hosts.collect();
                if hosts.is_empty() {
                    hosts.extend(addresses);
                }
                let database = config.get_dbname().or(config.get_user()).unwrap_or("its user's");
                write!(f, "PostgreSQL at {}, database {database}", hosts.join(", "))
            }
        }
    }
}

fn sqlite_path(path: &str) -> Result<PathBuf, String> {
    // A URL's empty host: sqlite:///var/lib/wicara.db is /var/lib/wicara.db.
    let path = match path.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => {
            return Err(
                "after sqlite:// stands a host, and a file has none: write sqlite: and a file of the \
                        working directory, such as sqlite:wicara.db, or a full path, such as \
                        sqlite:/var/lib/wicara/wicara.db"
                    .into(),
            );
        }
        None => path,
    };
    let refused = if path.trim() != path {
        "the file's name has a space at an end: remove it"
    } else if let Some(variable) = unbraced_variable(path) {
        return Err(format!("{variable} is not replaced: write ${{{}}}", &variable[1..]));
    } else if path.is_empty() || path.ends_with('/') {
        "it names no file: write one, such as sqlite:wicara-data/wicara.db"
    } else if path.starts_with('~') {
        "~ is not replaced by a home directory here: write the full path, or sqlite:${HOME}/…"
    } else if path.contains('?') {
        "it has parameters (after the ?), and sqlite: takes none: leave them away; a missing file is created"
    } else if path.starts_with(":memory:") {
        "a database in memory is lost with the process: name a file"
    } else if path.starts_with("file:") {
        "write the path without file:"
    } else {
        return Ok(PathBuf::from(path));
    };
    Err(refused.into())
}

/// `rest`: the address after `postgres://`.
fn postgres(rest: &str) -> Result<Config, String> {
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, query) = behind.split_once('?').unwrap_or((behind, ""));
    let has_login = authority.contains('@');
    let is_cut_off = authority.matches('@').count() > 1 || path.contains('@') || rest.contains('#');
    let is_cut_off = is_cut_off || !has_login && query.contains('@');
    if is_cut_off || !is_percent_encoded(rest) {
        return Err(PERCENT.into());
    }
    // Its name is not told: it may be a part of a password.
    if unbraced_variable(rest).is_some() {
        return Err("a $NAME in it is not replaced: write ${NAME}, or %24 for a $ that is meant".into());
    }
    let mut encryption = Encryption::Unsaid;
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let Some((name, value)) = parameter.split_once('=').filter(|(name, _)| is_name(name)) else {
            return Err(PERCENT.into());
        };
        match (name, value) {
            ("sslmode", "require" | "verify-ca" | "verify-full") => encryption = Encryption::Required,
            ("sslmode", "disable") => encryption = Encryption::Disabled,
            ("sslmode", "prefer" | "allow") => encryption = Encryption::Unsaid,
            ("sslmode", _) => {
                return Err(
                    "sslmode is not usable: allowed are require, verify-ca and verify-full, which all check \
                            the server's certificate and its name, and disable"
                        .into(),
                );
            }
            ("sslrootcert", "system") | ("gssencmode", "disable" | "prefer") => {}
            ("sslrootcert", _) => {
                return Err(
                    "sslrootcert is not supported: the CA certificates are those of the system; the \
                            environment variable SSL_CERT_FILE names another file of them"
                        .into(),
                );
            }
            ("client_encoding", value) if ["utf8", "utf-8", "auto"].contains(&&*value.to_lowercase()) => {}
            (name, _) if OWN_PARAMETERS.contains(&name) => {}
            // tokio-postgres splits lists of ports and addresses, and none of hosts.
            ("host", hosts) => kept.extend(hosts.split(',').map(|host| format!("host={host}"))),
            (name, _) if PARAMETERS.contains(&name) => kept.push(parameter.to_owned()),
            (name, _) => {
                return Err(format!(
                    "the parameter {name} is not supported: leave it away; known are sslmode, {}",
                    PARAMETERS.join(", ")
                ));
            }
        }
    }
    let url = format!("postgres://{authority}{path}?{}", kept.join("&"));
    let mut config: Config = url.parse().map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("it is not usable: {error}{cause}")
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(
            "it names no host: write postgres://user:password@host/database, or ?host=/run/postgresql for \
                    the folder of a Unix socket"
                .into(),
        );
    }
    let (hosts, addresses) = (config.get_hosts().len(), config.get_hostaddrs().len());
    let is_odd = |count| ![0, 1, hosts.max(addresses)].contains(&count);
    if hosts != 0 && addresses != 0 && hosts != addresses || is_odd(config.get_ports().len()) {
        return Err(MANY_PORTS.into());
    }
    config.ssl_mode(match encryption {
        Encryption::Required => SslMode::Require,
        Encryption::Disabled => SslMode::Disable,
        Encryption::Unsaid if is_local(&config) => SslMode::Disable,
        Encryption::Unsaid => {
            return Err("it names another machine: add ?sslmode=require to encrypt the connection, or \
                        ?sslmode=disable where the network between them is trusted"
                .into());
        }
    });
    Ok(config)
}

/// A `$NAME` without braces, in capitals as variables of the environment are, which would stay as it is.
fn unbraced_variable(text: &str) -> Option<&str> {
    let is_of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.match_indices('$').find_map(|(start, _)| {
        let name = &text[start + 1..];
        let length = name.find(|c| !is_of_name(c)).unwrap_or(name.len());
        name.starts_with(|c: char| c.is_ascii_uppercase()).then(|| &text[start..start + 1 + length])
    })
}

/// Whether each `%` is followed by two hexadecimal digits.
fn is_percent_encoded(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit))
}

/// Whether all hosts are this machine, so that an unencrypted connection crosses no network.
fn is_local(config: &Config) -> bool {
    let is_local_host = |host: &Host| match host {
        Host::Tcp(name) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_lowercase();
            // The system reads 127.1 as 127.0.0.1.
            let is_short = name.starts_with("127.") && name.chars().all(|c| c.is_ascii_digit() || c == '.');
            name == "localhost" || is_short || name.parse().is_ok_and(is_loopback)
        }
        Host::Unix(_) => true,
    };
    // Where there are addresses, the hosts are only names for them.
    match config.get_hostaddrs() {
        [] => config.get_hosts().iter().all(is_local_host),
        addresses => addresses.iter().copied().all(is_loopback),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn postgres_config(url: &str) -> Config {
        match DatabaseUrl::parse(url) {
            Ok(DatabaseUrl::Postgres(config)) => config,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn a_path_is_taken_as_it_is_written() {
        for (url, path) in [
            ("sqlite:wicara.db", "wicara.db"),
            ("sqlite:./a b/wicara.db", "./a b/wicara.db"),
            ("sqlite:/var/lib/wicara.db", "/var/lib/wicara.db"),
            ("sqlite:///var/lib/wicara.db", "/var/lib/wicara.db"),
            ("sqlite:a@b#c%20$.db", "a@b#c%20$.db"),
            ("sqlite:$5/$a.db", "$5/$a.db"),
        ] {
            match DatabaseUrl::parse(url) {
                Ok(DatabaseUrl::Sqlite(found)) => assert_eq!(found, Path::new(path), "{url}"),
                other => panic!("{url}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_address_that_would_mean_something_else_is_refused() {
        for (url, advice) in [
            ("sqlite:", "names no file"),
            ("sqlite:data/", "names no file"),
            ("sqlite://x.db", "sqlite:wicara.db"),
            ("sqlite:~/x.db", "HOME"),
            ("sqlite:x.db?mode=rwc", "parameters"),
            ("sqlite::memory:", "memory"),
            ("sqlite:file:x.db", "without file:"),
            ("sqlite:x.db\n", "line break"),
            ("sqlite: x.db", "space"),
            ("sqlite:// x.db", "sqlite:wicara.db"),
            ("sqlite:$HOME/x.db", "write ${HOME}"),
            ("sqlite:/srv/$DATA_1", "write ${DATA_1}"),
            ("postgres://u:$HUSH@127.0.0.1/db", "write ${NAME}"),
            ("postgres://u@127.0.0.1/$DB", "write ${NAME}"),
            ("postgres://u@127.0.0.1/db?port=5599", "behind its host"),
            ("postgres://u@db.example.org/x?hostaddr=127.0.0.1&port=5599", "behind its host"),
            ("postgres://u@/db?host=127.0.0.1,localhost&port=1,2,3", "behind its host"),
            ("postgres://u@127.0.0.1,localhost/db?hostaddr=127.0.0.1", "behind its host"),
            ("postgres://u@127.0.0.1/d#b", "names behind the host"),
            ("postgres://u@127.0.0.1/d%2", "names behind the host"),
            (" sqlite:x.db", "space"),
            ("mysql://u:p@h/db", "another kind"),
            ("wicara.db", "another kind"),
            ("postgres:u:p@h/db", "another kind"),
        ] {
            let error = DatabaseUrl::parse(url).unwrap_err();
            assert!(error.contains(advice) && !error.contains("HUSH"), "{url:?}: {error}");
        }
    }

    #[test]
    fn the_parameters_of_libpq_are_understood() {
        let url = "postgresql://u@localhost/db?application_name=a&connect_timeout=3&keepalives_count=2\
                   &options=-c%20search_path%3Dx&client_encoding=UTF8&gssencmode=prefer&password=p%40";
        let config = postgres_config(url);
        assert_eq!(
            (config.get_password(), config.get_options()),
            (Some(&b"p@"[..]), Some("-c search_path=x"))
        );
        for (mode, expected) in [
            ("require", SslMode::Require),
            ("verify-ca", SslMode::Require),
            ("verify-full", SslMode::Require),
            ("disable", SslMode::Disable),
        ] {
            let config = postgres_config(&format!("postgres://u:p@db.example.org:5433/db?sslmode={mode}"));
            assert_eq!(config.get_ssl_mode(), expected, "{mode}");
        }
        for local in [
            "localhost",
            "LOCALHOST.",
            "127.0.0.1",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "127.0.0.1:1,localhost:2",
            "%2Frun%2Fpostgresql",
        ] {
            let config = postgres_config(&format!("postgres://u:p@{local}/db?sslmode=prefer"));
            assert_eq!(config.get_ssl_mode(), SslMode::Disable, "{local}");
        }
    }

    #[test]
    fn lists_of_hosts_have_their_ports() {
        let config = postgres_config("postgres://u@/db?host=127.0.0.1,localhost&port=1,5599");
        let hosts = ["127.0.0.1", "localhost"].map(|host| Host::Tcp(host.into()));
        assert_eq!((config.get_hosts(), config.get_ports()), (&hosts[..], &[1, 5599][..]));
        for elsewhere in
            ["127.0.0.1.example.org", "127.example.org", "[::ffff:192.0.2.1]", "127.0.0.1,10.0.0.1"]
        {
            let told = DatabaseUrl::parse(&format!("postgres://u@{elsewhere}/db")).unwrap_err();
            assert!(told.contains("another machine"), "{elsewhere}: {told}");
        }
    }

    #[test]
    fn a_password_with_any_character_is_taken_encoded_and_otherwise_explained() {
        for character in (' '..='~').chain(['é', '😀']) {
            let password = format!("hush{character}hush");
            let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let config = postgres_config(&format!("postgres://u:{encoded}@127.0.0.1/db"));
            assert_eq!(config.get_password(), Some(password.as_bytes()), "{character:?}");
            match DatabaseUrl::parse(&format!("postgres://u:{password}@127.0.0.1/db")) {
                Ok(DatabaseUrl::Postgres(config)) => {
                    assert_eq!(config.get_password(), Some(password.as_bytes()), "{character:?}");
                    assert_eq!(config.get_hosts(), [Host::Tcp("127.0.0.1".into())], "{character:?}");
                }
                Ok(other) => panic!("{character:?}: {other:?}"),
                Err(error) => assert!(error.contains("%40") && !error.contains("hush"), "{error}"),
            }
        }
    }

    #[test]
    fn what_is_not_supported_is_named_without_its_value() {
        for (parameter, name) in [
            ("sslcert=/hush", "sslcert"),
            ("sslrootcert=/hush", "SSL_CERT_FILE"),
            ("service=hush", "service"),
            ("sslmode=hush", "verify-full"),
            ("client_encoding=hush", "client_encoding"),
            ("hush", "percent-encoded"),
        ] {
            let url = format!("postgres://u:hush@127.0.0.1/db?{parameter}");
            let error = DatabaseUrl::parse(&url).unwrap_err();
            assert!(error.contains(name) && !error.contains("hush"), "{error}");
        }
        assert!(DatabaseUrl::parse("postgres://u:p@h/db").unwrap_err().contains("sslmode=require"));
        assert!(DatabaseUrl::parse("postgres:///db").unwrap_err().contains("no host"));
        // A password that is not encoded may look like a parameter.
        let error = DatabaseUrl::parse("postgres://u:p?hush=1@127.0.0.1/db").unwrap_err();
        assert!(error.contains("%40") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let shown = DatabaseUrl::parse("postgres://u:hush@127.0.0.1/wicara").unwrap().to_string();
        assert_eq!(shown, "PostgreSQL at 127.0.0.1, database wicara");
        let shown = DatabaseUrl::parse("sqlite:x/wicara.db").unwrap().to_string();
        assert!(shown.starts_with('/') && shown.ends_with("/x/wicara.db"), "{shown}");
    }
}
