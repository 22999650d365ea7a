//! TLS by rustls on ring, the one provider in this program.

/// Makes ring the provider of this process. Called before a connection is configured, as often as one likes.
pub fn install() {
    // The only possible failure is that a provider stands already, which is then the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
