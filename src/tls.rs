//! What every connection outward shares: TLS by rustls on ring, the one provider in this program.

use reqwest::{Client, ClientBuilder, Url};

/// Makes ring the provider of this process. Called before a connection is configured, as often as one likes.
pub fn install() {
    // The only possible failure is that a provider stands already, which is then the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An HTTP client's beginnings for one address.
///
/// The system's certificates are read only where they are needed, so that plain HTTP works on a machine that has
/// none. A client made for an `http` address therefore trusts no `https` address: do not let it follow redirects.
pub fn client_for(url: &Url) -> ClientBuilder {
    install();
    let builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    if url.scheme() == "https" { builder } else { builder.tls_certs_only([]) }
}

/// What went wrong underneath, without the address, which may hold a secret.
#[must_use]
pub fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut deepest: &dyn std::error::Error = &error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
