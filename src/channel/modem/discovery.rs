//! Which ports look like modems: what `/dev` and `/sys` say, read as files.
//!
//! The number of a `ttyUSB` moves when a modem is unplugged, so what is configured is a name that
//! stays: one that the operator's own rules made, else udev's link by serial number, else its link by
//! USB socket. Sticks often have no serial number, or all the same one; then two of them would fight
//! for one link, and the socket is the better name.
//!
//! Nothing is opened here: see [`trial`](super::trial) for asking.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Prefixes of terminals that modems have: `usb-serial` drivers, and CDC ACM (USB CDC PSTN §6.2).
const KINDS: [&str; 2] = ["ttyUSB", "ttyACM"];

/// Levels between a terminal in `/sys` and its USB device; there are three, hubs come above it.
const LEVELS: usize = 6;

/// Longest text that a device says about itself, in characters (USB 2.0 §9.6.7 allows 126).
const MAX_TEXT: usize = 126;

/// Where devices are looked for.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/dev`.
    pub dev: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/proc`: who has a port open.
    pub proc: PathBuf,
}

impl Roots {
    /// Those of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self {
            dev: "/dev".into(),
            sys: "/sys".into(),
            proc: "/proc".into(),
        }
    }
}

/// A port that may be a modem's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its names, the best one to configure first; the kernel's own is the last one.
    pub names: Vec<PathBuf>,
    /// True if the first name stays when the modem is unplugged and plugged in again.
    pub stable: bool,
    /// What is plugged in, if it is a USB device.
    pub usb: Option<Usb>,
    /// What this port is, by what its family usually has there. A guess: only asking tells.
    pub guess: Guess,
}

impl Port {
    /// The name to configure.
    #[must_use]
    pub fn name(&self) -> &Path {
        self.names.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The kernel's name without its folder: `ttyUSB2`.
    #[must_use]
    pub fn kernel_name(&self) -> String {
        let last = self.names.last().and_then(|node| node.file_name());
        last.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }
}

/// A USB device, and the interface of it that a port is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usb {
    /// `idVendor`.
    pub vendor: u16,
    /// `idProduct`.
    pub product: u16,
    /// Maker, as the device says.
    pub maker: Option<String>,
    /// Product, as the device says.
    pub name: Option<String>,
    /// Serial number, as the device says; not always its own.
    pub serial: Option<String>,
    /// `bInterfaceNumber`.
    pub interface: Option<u8>,
    /// `bInterfaceClass`, `bInterfaceSubClass`, `bInterfaceProtocol`.
    pub class: Option<(u8, u8, u8)>,
    /// The socket: bus and ports of the hubs, `1-1.4`.
    pub socket: String,
}

/// What a port usually is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guess {
    /// The one for AT commands.
    Commands,
    /// Another one of a known family: diagnosis, positions, or the one for data calls.
    Other,
    /// The family is not known.
    Unknown,
}

/// Finds the ports of USB modems, each once, in the order of sockets and interfaces.
///
/// # Errors
/// If `/dev` cannot be read. What else cannot be read is left out.
pub fn ports(roots: &Roots) -> io::Result<Vec<Port>> {
    let mut nodes = Vec::new();
    for entry in fs::read_dir(&roots.dev)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let numbered = KINDS.iter().any(|kind| {
            let number = name.strip_prefix(kind);
            number.is_some_and(|number| number.parse::<u16>().is_ok())
        });
        if numbered {
            nodes.push(name);
        }
    }
    // ttyUSB10 after ttyUSB9.
    nodes.sort_by_key(|name| (name.len(), name.clone()));
    let found: Vec<_> = nodes
        .iter()
        .map(|name| (roots.dev.join(name), usb(&roots.sys, name)))
        .collect();
    let links = Links::read(&roots.dev);
    let devices: Vec<&Usb> = found.iter().filter_map(|(_, usb)| usb.as_ref()).collect();
    let mut ports: Vec<Port> = found
        .iter()
        .map(|(node, usb)| {
            let serial = usb
                .as_ref()
                .is_some_and(|usb| has_own_serial(usb, &devices));
            let mut names = links.of(node, serial);
            let stable = !names.is_empty();
            names.push(node.clone());
            Port {
                names,
                stable,
                guess: usb
                    .as_ref()
                    .map_or(Guess::Unknown, |usb| guess(usb, &devices)),
                usb: usb.clone(),
            }
        })
        .collect();
    // A stable sort: ports without a device stay in the order of their numbers, at the end.
    ports.sort_by_key(|port| {
        let usb = port.usb.as_ref();
        usb.map_or((true, String::new(), 0), |usb| {
            (false, usb.socket.clone(), usb.interface.unwrap_or(u8::MAX))
        })
    });
    Ok(ports)
}

/// The port that a name leads to: one of [`ports`], else one that only has this name.
#[must_use]
pub fn port_of(roots: &Roots, device: &Path) -> Port {
    let alone = || Port {
        names: vec![device.to_owned()],
        stable: !is_kernels_name(device),
        usb: None,
        guess: Guess::Unknown,
    };
    let Ok(target) = device.canonicalize() else {
        return alone();
    };
    let known = ports(roots).unwrap_or_default();
    known
        .into_iter()
        .find(|port| {
            let node = port.names.last().and_then(|node| node.canonicalize().ok());
            node.as_deref() == Some(&target)
        })
        .unwrap_or_else(alone)
}

/// True for names that the kernel gives out anew at each plugging in.
#[must_use]
pub fn is_kernels_name(device: &Path) -> bool {
    let name = device.file_name().map(|name| name.to_string_lossy());
    let folder = device
        .parent()
        .is_some_and(|folder| folder == Path::new("/dev"));
    folder && name.is_some_and(|name| KINDS.iter().any(|kind| name.starts_with(kind)))
}

/// Programs that have a port open, as far as this user may see, for example `ModemManager (412)`.
#[must_use]
pub fn holders(roots: &Roots, device: &Path) -> Vec<String> {
    let Ok(target) = device.canonicalize() else {
        return Vec::new();
    };
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for process in fs::read_dir(&roots.proc).into_iter().flatten().flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|octet| octet.is_ascii_digit()) {
            continue;
        }
        let files = fs::read_dir(process.path().join("fd"));
        let holds = files
            .into_iter()
            .flatten()
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|opened| opened == target));
        if holds {
            let name = text(&process.path().join("comm")).unwrap_or_default();
            found.push(format!("{name} ({pid})"));
        }
    }
    found.sort();
    found
}

/// The links in `/dev` that lead to terminals, by the terminal.
struct Links {
    own: BTreeMap<PathBuf, Vec<PathBuf>>,
    by_id: BTreeMap<PathBuf, Vec<PathBuf>>,
    by_path: BTreeMap<PathBuf, Vec<PathBuf>>,
    own_by_path: BTreeMap<PathBuf, Vec<PathBuf>>,
}

impl Links {
    fn read(dev: &Path) -> Self {
        Self {
            own: links(&dev.join("relais")),
            by_id: links(&dev.join("serial/by-id")),
            by_path: links(&dev.join("serial/by-path")),
            own_by_path: links(&dev.join("relais/by-path")),
        }
    }

    /// The links to a terminal, best first.
    fn of(&self, node: &Path, own_serial: bool) -> Vec<PathBuf> {
        let target = node.canonicalize().unwrap_or_else(|_| node.to_owned());
        let order = if own_serial {
            [&self.own, &self.by_id, &self.by_path, &self.own_by_path]
        } else {
            [&self.own, &self.by_path, &self.own_by_path, &self.by_id]
        };
        let names = order.into_iter().filter_map(|links| links.get(&target));
        names.flatten().cloned().collect()
    }
}

fn links(folder: &Path) -> BTreeMap<PathBuf, Vec<PathBuf>> {
    let mut found: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // A link whose modem has gone leads nowhere.
        if let Ok(target) = entry.path().canonicalize() {
            found.entry(target).or_default().push(entry.path());
        }
    }
    for names in found.values_mut() {
        // Newer systemd makes two links by path; the shorter one is the one that older ones know.
        names.sort_by_key(|name| (name.as_os_str().len(), name.clone()));
    }
    found
}

/// The USB device of a terminal: its interface is the folder above it, or itself, that has a
/// `bInterfaceNumber`, and the device the one above that with an `idVendor`.
fn usb(sys: &Path, name: &str) -> Option<Usb> {
    let terminal = sys.join("class/tty").join(name).join("device");
    let terminal = terminal.canonicalize().ok()?;
    let above = |file: &str| {
        let mut folders = terminal.ancestors().take(LEVELS);
        folders.find(|folder| folder.join(file).is_file())
    };
    let device = above("idVendor")?;
    let interface = above("bInterfaceNumber");
    let octet = |file: &str| number(&interface?.join(file)).and_then(|n| u8::try_from(n).ok());
    let class = || {
        Some((
            octet("bInterfaceClass")?,
            octet("bInterfaceSubClass")?,
            octet("bInterfaceProtocol")?,
        ))
    };
    Some(Usb {
        vendor: number(&device.join("idVendor"))?,
        product: number(&device.join("idProduct"))?,
        maker: text(&device.join("manufacturer")),
        name: text(&device.join("product")),
        serial: text(&device.join("serial")),
        interface: octet("bInterfaceNumber"),
        class: class(),
        socket: device.file_name()?.to_string_lossy().into_owned(),
    })
}

/// A number in hexadecimal, as `/sys` writes them.
fn number(file: &Path) -> Option<u16> {
    u16::from_str_radix(&text(file)?, 16).ok()
}

/// A line of text, without what would disturb a terminal: it comes from whatever is plugged in.
fn text(file: &Path) -> Option<String> {
    let octets = fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&octets);
    let visible = text.chars().filter(|c| !c.is_control()).take(MAX_TEXT);
    let text = visible.collect::<String>().trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// True if no other device in sight has the serial number, and it does not look like the one that
/// the maker forgot to set.
fn has_own_serial(usb: &Usb, all: &[&Usb]) -> bool {
    let Some(serial) = &usb.serial else {
        return false;
    };
    let twin = all.iter().any(|other| {
        other.socket != usb.socket
            && (other.vendor, other.product) == (usb.vendor, usb.product)
            && other.serial.as_ref() == Some(serial)
    });
    !twin && !is_placeholder(serial)
}

/// `0123456789ABCDEF`, `1234567890…`, `000000`.
fn is_placeholder(serial: &str) -> bool {
    let serial = serial.to_ascii_uppercase();
    let same = serial.chars().all(|c| serial.starts_with(c));
    same || ["0123456789ABCDEF", "1234567890ABCDEF"]
        .iter()
        .any(|counting| counting.starts_with(&serial))
}

/// What is known of where families have their port for AT commands. It varies with the product and
/// with the mode that it is in, which is why this is a guess.
fn guess(usb: &Usb, all: &[&Usb]) -> Guess {
    let Some(interface) = usb.interface else {
        return Guess::Unknown;
    };
    let usual = match (usb.vendor, usb.product) {
        // Huawei says it by the protocol of the interface: 1 data calls, 2 commands. The older ones
        // do not; theirs is the last port.
        (0x12d1, _) => match usb.class {
            Some((0xff, 1..=3, protocol)) => {
                return match protocol {
                    0x02 | 0x12 => Guess::Commands,
                    _ => Guess::Other,
                };
            }
            _ => {
                let same = all.iter().filter(|other| other.socket == usb.socket);
                same.filter_map(|other| other.interface).max()
            }
        },
        // Quectel: 0 diagnosis, 1 positions, 2 commands, 3 data calls.
        (0x2c7c, _) => Some(2),
        // SIMCom: the same on LTE modules; the 3G ones have it last.
        (0x1e0e, 0x9100 | 0x9200) => Some(3),
        (0x1e0e, _) => Some(2),
        // Sierra Wireless: 0 diagnosis, 2 positions, 3 commands.
        (0x1199, _) => Some(3),
        // ZTE: 1 commands, 2 or 3 data calls, on most.
        (0x19d2, _) => Some(1),
        // u-blox: the first one; the TOBY-L4 has others in front of it.
        (0x1546, 0x1010) => Some(6),
        (0x1546, _) => Some(0),
        // Telit: each generation has its own.
        (0x1bc7, 0x1201 | 0x1050) => Some(4),
        (0x1bc7, 0x1101 | 0x110a) => Some(1),
        (0x1bc7, 0x0021 | 0x1003..=0x1006) => Some(0),
        // Cinterion: the first one.
        (0x1e2d, _) => Some(0),
        _ => None,
    };
    match usual {
        Some(usual) if usual == interface => Guess::Commands,
        Some(_) => Guess::Other,
        None => Guess::Unknown,
    }
}

/// Vendors of modems that this crate knows something about, for the rules of udev.
pub const VENDORS: [(u16, &str); 8] = [
    (0x12d1, "Huawei"),
    (0x2c7c, "Quectel"),
    (0x1e0e, "SIMCom"),
    (0x1199, "Sierra Wireless"),
    (0x19d2, "ZTE"),
    (0x1546, "u-blox"),
    (0x1bc7, "Telit"),
    (0x1e2d, "Cinterion"),
];

#[cfg(test)]
pub(in crate::channel::modem) mod tests;
