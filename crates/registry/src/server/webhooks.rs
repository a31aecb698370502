//! What is told elsewhere of a push: signed, tried again a few times, and never to an address of this
//! machine's own networks unless a setting allows it.
//!
//! What is to be delivered was written down with the push. Each body is signed with the webhook's own
//! secret: `X-Caisson-Signature: sha256=…` is its HMAC.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use ureq::Agent;

use super::database::webhooks::Due;
use super::database::{DatabaseError, now};
use super::{Registry, chain};

/// How often it is looked for deliveries.
pub(crate) const EVERY: Duration = Duration::from_secs(2);
/// Deliveries in one turn.
const BATCH: i64 = 16;
/// After so long another one may try, if whoever took a delivery is gone.
const TAKEN_SECONDS: i64 = 120;
/// The pauses between attempts; after the last there is none.
const PAUSES: [i64; 5] = [10, 60, 300, 1800, 7200];
const OUTCOME_CHARACTERS_MAX: usize = 200;
const URL_BYTES_MAX: usize = 500;

/// Delivers what is due.
pub(crate) async fn deliver(registry: &Arc<Registry>) -> Result<(), DatabaseError> {
    for due in registry.database.due(BATCH).await? {
        // Taken by nobody else from here on, and counted.
        if !registry
            .database
            .take_delivery(&due, now() + TAKEN_SECONDS)
            .await?
        {
            continue;
        }
        let agent = registry.webhook_agent.clone();
        let (id, attempts) = (due.id.clone(), due.attempts);
        let sent = tokio::task::spawn_blocking(move || send(&agent, &due)).await;
        let (outcome, is_done) = sent.unwrap_or_else(|error| (error.to_string(), false));
        let pause = usize::try_from(attempts).ok().and_then(|n| PAUSES.get(n));
        let next = pause.filter(|_| !is_done).map(|pause| now() + pause);
        registry.database.delivered(&id, &outcome, next).await?;
    }
    Ok(())
}

/// One attempt: what became of it in words, and whether that is the end.
fn send(agent: &Agent, due: &Due) -> (String, bool) {
    let answer = agent
        .post(&due.url)
        .header("content-type", "application/json")
        .header("x-caisson-event", "push")
        .header("x-caisson-delivery", &due.id)
        .header("x-caisson-signature", signature(&due.secret, &due.body))
        .send(due.body.as_str());
    match answer {
        Ok(answer) => {
            let status = answer.status();
            (status.to_string(), status.is_success())
        }
        Err(error) => {
            let text: String = chain(&error).chars().take(OUTCOME_CHARACTERS_MAX).collect();
            (text, false)
        }
    }
}

fn signature(secret: &str, body: &str) -> String {
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes())
        .expect("invariant: HMAC takes keys of any length");
    let mac = mac.chain_update(body).finalize().into_bytes();
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// An address of the web, without an account in it.
pub(crate) fn is_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    text.len() <= URL_BYTES_MAX
        && host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.parse::<ureq::http::Uri>().is_ok()
}

/// Whether an address is somewhere in the world, and not on this machine or in a network around it.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_4(address),
        IpAddr::V6(address) => is_public_6(address),
    }
}

fn is_public_4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || matches!(
            (a, b, c),
            (0 | 240..=255, _, _) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _)
        );
    !is_special
}

fn is_public_6(address: Ipv6Addr) -> bool {
    let words = address.segments();
    // An address of the older kind within one of the newer: as the older one.
    let inner = match words {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some((high, low))
        }
        [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = inner {
        return is_public_4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    }
    // Of those that are handed out (2000::/3), all but examples and tunnels.
    words[0] & 0xe000 == 0x2000 && !matches!((words[0], words[1]), (0x2001, 0 | 0xdb8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_near_us_are_not_public() {
        for near in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!is_public(near.parse().unwrap()), "{near}");
        }
        for far in [
            "9.9.9.9",
            "172.32.0.1",
            "100.128.0.1",
            "2620:fe::fe",
            "::ffff:9.9.9.9",
        ] {
            assert!(is_public(far.parse().unwrap()), "{far}");
        }
    }

    #[test]
    fn a_webhooks_address_is_one_of_the_web() {
        assert!(is_url("https://ci.example.org/hook?x=1") && is_url("http://ci:8080"));
        for bad in [
            "",
            "ci",
            "ftp://x",
            "https://",
            "https://a@b/",
            "https://x/ y",
            "http://é",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
    }

    #[test]
    fn a_signature_is_that_of_rfc_4231() {
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let found = signature("Jefe", "what do ya want for nothing?");
        assert_eq!(found, format!("sha256={expected}"));
    }
}
