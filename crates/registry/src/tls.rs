//! TLS to a host whose authorities are named in its directory of `certs.d`.
//!
//! It differs from everybody's TLS in one thing. `openssl req -x509` marks what it makes as an authority's
//! certificate unless told otherwise, and people serve with it; webpki refuses an authority as a server
//! (`CaUsedAsEndEntity`) even where it is trusted, and other clients do not. Here the certificate that a
//! server shows may be an authority's if it is, byte for byte, one of those that were put there for this very
//! host. Its names and dates are checked as ever, and that the server has its key.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme, StreamOwned,
};
use ureq::Error;
use ureq::tls::{Certificate, ClientCert};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    TcpConnector, Transport, TransportAdapter,
};

/// Connections to a host: `trusted` are authorities of the machine, `own` those of the host.
pub(crate) fn connector(
    trusted: &[Certificate<'static>],
    own: &[Certificate<'static>],
    client: Option<&ClientCert>,
) -> Result<impl Connector<()>, TlsError> {
    let config = Arc::new(config(trusted, own, client)?);
    Ok(
        ().chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(Tls { config }),
    )
}

fn config(
    trusted: &[Certificate<'static>],
    own: &[Certificate<'static>],
    client: Option<&ClientCert>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier::new(trusted, own, &provider)?);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(client) = client else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = client.certs().iter().map(owned).collect();
    let key = PrivateKeyDer::try_from(client.private_key().der().to_vec())
        .map_err(|what| TlsError::General(what.to_owned()))?;
    builder.with_client_auth_cert(chain, key)
}

fn owned(certificate: &Certificate<'static>) -> CertificateDer<'static> {
    CertificateDer::from(certificate.der().to_vec())
}

#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(
        trusted: &[Certificate<'static>],
        own: &[Certificate<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let own: Vec<_> = own.iter().map(owned).collect();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().map(owned).chain(own.iter().cloned()));
        let webpki =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let webpki = webpki.map_err(|error| TlsError::General(error.to_string()))?;
        Ok(Self { webpki, own })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verdict = self
            .webpki
            .verify_server_cert(shown, between, name, ocsp, now);
        let is_own = self.own.iter().any(|own| own.as_ref() == shown.as_ref());
        if !is_own || !verdict.as_ref().is_err_and(is_authority) {
            return verdict;
        }
        // webpki looks at the dates before it looks at what a certificate is for; a test holds it to that.
        verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Whether all that webpki has against a certificate is that it is an authority's.
fn is_authority(error: &TlsError) -> bool {
    // The error's type is webpki's own, which rustls does not give away.
    matches!(error, TlsError::InvalidCertificate(rustls::CertificateError::Other(other))
        if other.0.to_string() == "CaUsedAsEndEntity")
}

#[derive(Debug)]
struct Tls {
    config: Arc<ClientConfig>,
}

impl<In: Transport> Connector<In> for Tls {
    type Out = Either<In, Stream>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(host)
            .map_err(|_| Error::Tls("the host's name cannot be in a certificate"))?;
        let mut connection = ClientConnection::new(self.config.clone(), name)?;
        let mut socket = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket)?;
        Ok(Some(Either::B(Stream {
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
            stream: StreamOwned::new(connection, socket),
        })))
    }
}

struct Stream {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Stream({:?})", self.stream.sock.inner())
    }
}

impl Transport for Stream {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let count = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    /// As `openssl req -x509 -addext subjectAltName=DNS:reg.lan` makes it, for the days around now given.
    fn authority(days: (i64, i64)) -> CertificateDer<'static> {
        let now = std::time::SystemTime::now();
        let day = Duration::from_secs(86_400);
        let at = |days: i64| match days < 0 {
            true => now - day * u32::try_from(-days).unwrap(),
            false => now + day * u32::try_from(days).unwrap(),
        };
        let mut params = CertificateParams::new(vec!["reg.lan".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = at(days.0).into();
        params.not_after = at(days.1).into();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn verdict(
        own: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        name: &str,
    ) -> Result<ServerCertVerified, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let own = Certificate::from_der(own).to_owned();
        let verifier = Verifier::new(&[], &[own], &provider).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(shown, &[], &name, &[], UnixTime::now())
    }

    #[test]
    fn an_authority_serves_only_where_it_was_put_for_the_host_by_its_name_and_in_its_time() {
        let good = authority((-1, 1));
        verdict(&good, &good, "reg.lan").unwrap();
        let said = |verdict: Result<ServerCertVerified, TlsError>| verdict.unwrap_err().to_string();
        let text = said(verdict(&good, &good, "other.lan"));
        assert!(text.contains("not valid for name"), "{text}");
        // Of the same name, but not the one that was put there.
        let text = said(verdict(&good, &authority((-1, 1)), "reg.lan"));
        assert!(text.contains("CaUsedAsEndEntity"), "{text}");
        let old = authority((-9, -1));
        let text = said(verdict(&old, &old, "reg.lan"));
        assert!(text.contains("expired"), "{text}");
        let coming = authority((1, 9));
        let text = said(verdict(&coming, &coming, "reg.lan"));
        assert!(text.contains("not valid yet"), "{text}");
    }

    #[test]
    fn the_machines_authorities_are_no_servers() {
        let shown = authority((-1, 1));
        let provider = Arc::new(ring::default_provider());
        let trusted = Certificate::from_der(&shown).to_owned();
        let verifier = Verifier::new(&[trusted], &[], &provider).unwrap();
        let name = ServerName::try_from("reg.lan").unwrap();
        let verdict = verifier.verify_server_cert(&shown, &[], &name, &[], UnixTime::now());
        assert!(verdict.is_err());
    }
}
