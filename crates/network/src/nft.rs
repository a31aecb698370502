//! One store's tables in nftables, over nfnetlink.
//!
//! Two tables of the store's name: `inet` translates published ports and keeps networks apart,
//! `bridge` binds each veth to its hardware and network addresses. Their chains never change while
//! they live; networks, endpoints and ports are elements of their sets and maps, so that a
//! container costs the same with ten others and with a thousand. Every batch is a transaction of
//! the kernel's. Read by the kernel, by `nft list ruleset`, and by nobody else.

pub mod elements;
mod expression;
pub mod foreign;
pub mod resolver;
mod rules;
mod skeleton;
pub mod watch;
pub mod way;

use rustix::io::Errno;

use crate::netlink::{Attributes, Batch, Encoder, NetlinkError, Socket, Step};
use elements::Elements;

/// Bumped with every change of the skeleton; kept as the tables' comment.
const VERSION_COMMENT: &str = "caisson 3";

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

pub(crate) const NEWTABLE: u16 = SUBSYSTEM;
const GETTABLE: u16 = SUBSYSTEM | 1;
pub(crate) const DELTABLE: u16 = SUBSYSTEM | 2;
pub(crate) const NEWCHAIN: u16 = SUBSYSTEM | 3;
pub(crate) const GETCHAIN: u16 = SUBSYSTEM | 4;
pub(crate) const NEWRULE: u16 = SUBSYSTEM | 6;
pub(crate) const GETRULE: u16 = SUBSYSTEM | 7;
const DELRULE: u16 = SUBSYSTEM | 8;
pub(crate) const NEWSET: u16 = SUBSYSTEM | 9;
pub(crate) const NEWSETELEM: u16 = SUBSYSTEM | 12;
const GETSETELEM: u16 = SUBSYSTEM | 13;
pub(crate) const DELSETELEM: u16 = SUBSYSTEM | 14;

pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

const TABLE_NAME: u16 = 1;
const TABLE_USERDATA: u16 = 6;
const RULE_TABLE: u16 = 1;
/// The comment's tag within a table's user data, as `nft` writes it.
const USERDATA_COMMENT: u8 = 0;

/// Bytes of `struct nfgenmsg`.
pub(crate) const HEADER_BYTES: usize = 4;
/// The kernel takes 255; ours are far shorter.
const NAME_BYTES_MAX: usize = 64;

/// A family of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    Inet = 1,
    Ipv4 = 2,
    Bridge = 7,
    Ipv6 = 10,
}

impl Family {
    pub(crate) fn header(self) -> [u8; HEADER_BYTES] {
        [self as u8, 0, 0, 0]
    }

    fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ipv4 => "ip",
            Self::Bridge => "bridge",
            Self::Ipv6 => "ip6",
        }
    }
}

/// A text that cannot name our tables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name of an nftables table: {0}")]
pub struct InvalidTable(String);

/// The tables of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    name: String,
}

/// What the kernel has of our tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nothing, or only one of the two.
    Absent,
    /// As this program makes them.
    Current,
    /// Made by another version: [`Table::remake`] them.
    Other,
}

impl Table {
    /// The tables of that name: lower-case letters, digits, `-` and `_`, a letter first.
    ///
    /// # Errors
    /// Another text.
    pub fn new(name: &str) -> Result<Self, InvalidTable> {
        let fits = name.len() <= NAME_BYTES_MAX
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)
            });
        if !fits {
            return Err(InvalidTable(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
        })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the kernel has of them.
    ///
    /// # Errors
    /// The kernel's answer, other than that there is nothing.
    pub fn presence(&self, socket: &Socket) -> Result<Presence, NetlinkError> {
        let mut batch = Batch::new();
        for family in [Family::Inet, Family::Bridge] {
            let step = self.step("find table", family).unless(&[Errno::NOENT]);
            batch.push((GETTABLE, 0), &family.header(), step, |table| {
                table.put_text(TABLE_NAME, &self.name);
            });
        }
        let replies = socket.exchange(batch)?;
        let mut current = 0;
        for reply in replies.iter().filter(|reply| reply.kind == NEWTABLE) {
            let userdata =
                Attributes::after(&reply.payload, HEADER_BYTES).find_kind(TABLE_USERDATA);
            if userdata.map(|userdata| userdata.value) != Some(&comment()[..]) {
                return Ok(Presence::Other);
            }
            current += 1;
        }
        Ok(if current == 2 {
            Presence::Current
        } else {
            Presence::Absent
        })
    }

    /// Makes what is missing and writes the rules anew; elements stay. One transaction, the same
    /// however often it is done.
    ///
    /// # Errors
    /// The first step that the kernel refused; then nothing has changed.
    pub fn ensure(&self, socket: &Socket) -> Result<(), NetlinkError> {
        let mut batch = begin();
        self.push_skeleton(&mut batch);
        end(&mut batch);
        socket.commit(batch)
    }

    /// Replaces everything: tables as this program makes them, with these elements only. One
    /// transaction (several for more than about 500 elements).
    ///
    /// # Errors
    /// The first step that the kernel refused; then nothing has changed.
    pub fn remake(&self, socket: &Socket, elements: &Elements) -> Result<(), NetlinkError> {
        let mut batch = begin();
        self.push_removal(&mut batch);
        self.push_skeleton(&mut batch);
        self.add_from(socket, batch, elements)
    }

    /// Removes the tables; that they are not there is fine.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn remove(&self, socket: &Socket) -> Result<(), NetlinkError> {
        let mut batch = begin();
        self.push_removal(&mut batch);
        end(&mut batch);
        socket.commit(batch)
    }

    /// A table must be there to be deleted, so it is made first.
    fn push_removal(&self, batch: &mut Batch) {
        for family in [Family::Inet, Family::Bridge] {
            push_table(batch, family, &self.name, None);
            let step = self.step("delete table", family);
            batch.push((DELTABLE, 0), &family.header(), step, |table| {
                table.put_text(TABLE_NAME, &self.name);
            });
        }
    }

    fn push_skeleton(&self, batch: &mut Batch) {
        for family in [Family::Inet, Family::Bridge] {
            push_table(batch, family, &self.name, Some(&comment()));
            skeleton::push_sets(batch, family, &self.name);
            skeleton::push_chains(batch, family, &self.name);
            // Rules would be appended again: every chain is emptied first, in the same transaction.
            let step = self.step("empty the chains of table", family);
            batch.push((DELRULE, 0), &family.header(), step, |rules| {
                rules.put_text(RULE_TABLE, &self.name);
            });
            rules::push_rules(batch, family, &self.name);
        }
    }

    fn step(&self, verb: &'static str, family: Family) -> Step {
        Step::new(verb, format!("{} {}", family.name(), self.name))
    }
}

fn push_table(batch: &mut Batch, family: Family, name: &str, userdata: Option<&[u8]>) {
    let step = Step::new("create table", format!("{} {name}", family.name()));
    let body = |table: &mut Encoder<'_>| {
        table.put_text(TABLE_NAME, name);
        if let Some(userdata) = userdata {
            table.put(TABLE_USERDATA, userdata);
        }
    };
    batch.push((NEWTABLE, NLM_F_CREATE), &family.header(), step, body);
}

/// The comment in `nft`'s form: tag, length, text with NUL.
fn comment() -> Vec<u8> {
    let mut bytes = vec![USERDATA_COMMENT, VERSION_COMMENT.len() as u8 + 1];
    bytes.extend_from_slice(VERSION_COMMENT.as_bytes());
    bytes.push(0);
    bytes
}

/// Starts a transaction.
pub(crate) fn begin() -> Batch {
    let mut batch = Batch::new();
    push_frame(&mut batch, BATCH_BEGIN, "begin");
    batch
}

/// Ends a transaction.
pub(crate) fn end(batch: &mut Batch) {
    push_frame(batch, BATCH_END, "commit");
}

fn push_frame(batch: &mut Batch, kind: u16, verb: &'static str) {
    let [high, low] = (SUBSYSTEM >> 8).to_be_bytes();
    let step = Step::new(verb, "an nftables transaction");
    batch.push((kind, 0), &[0, 0, high, low], step, |_| {});
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_are_plain_words() {
        for good in ["caisson", "caisson-0a1b2c", "c_1"] {
            assert_eq!(Table::new(good).unwrap().name(), good);
        }
        let long = "a".repeat(65);
        for bad in ["", "1a", "-a", "a b", "A", "a;b", "a\"", &long] {
            assert!(Table::new(bad).is_err(), "{bad}");
        }
    }
}
