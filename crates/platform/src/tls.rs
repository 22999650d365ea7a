//! TLS by rustls, with ring as its cryptography provider.

/// Makes ring the provider of this process. Has to be called before a connection is configured; further calls do nothing.
pub fn install() {
    // Fails only if a provider is installed already, and this function installs no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
