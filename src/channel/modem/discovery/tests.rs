#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::symlink;

use super::*;

/// A machine in a folder: `/dev`, `/sys` and `/proc` as Linux has them.
pub(in crate::channel::modem) struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    pub(in crate::channel::modem) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["dev", "sys/class/tty", "proc"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    pub(in crate::channel::modem) fn roots(&self) -> Roots {
        // The temporary folder may itself be behind a link.
        let root = self.folder.path().canonicalize().unwrap();
        Roots {
            dev: root.join("dev"),
            sys: root.join("sys"),
            proc: root.join("proc"),
        }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    /// A USB device at a socket.
    fn device(&self, socket: &str, ids: &str, serial: Option<&str>) {
        let folder = format!("sys/devices/pci0000:00/usb1/{socket}");
        let (vendor, product) = ids.split_once(':').unwrap();
        self.write(&format!("{folder}/idVendor"), vendor);
        self.write(&format!("{folder}/idProduct"), product);
        self.write(&format!("{folder}/manufacturer"), "Maker");
        self.write(&format!("{folder}/product"), "Mobile\u{1b}[31m");
        if let Some(serial) = serial {
            self.write(&format!("{folder}/serial"), serial);
        }
    }

    /// A terminal on an interface of a device, with udev's links.
    fn terminal(&self, name: &str, socket: &str, interface: u8, class: (u8, u8, u8)) {
        let usb = format!("sys/devices/pci0000:00/usb1/{socket}/{socket}:1.{interface}");
        self.write(
            &format!("{usb}/bInterfaceNumber"),
            &format!("{interface:02x}"),
        );
        for (file, value) in [
            ("Class", class.0),
            ("SubClass", class.1),
            ("Protocol", class.2),
        ] {
            self.write(&format!("{usb}/bInterface{file}"), &format!("{value:02x}"));
        }
        // A usb-serial port is a device of its own below the interface, an ACM port is not.
        let root = self.folder.path();
        let parent = if name.starts_with("ttyUSB") {
            format!("{usb}/{name}")
        } else {
            usb
        };
        let terminal = root.join(&parent).join("tty").join(name);
        fs::create_dir_all(&terminal).unwrap();
        symlink(root.join(&parent), terminal.join("device")).unwrap();
        symlink(&terminal, root.join("sys/class/tty").join(name)).unwrap();
        self.write(&format!("dev/{name}"), "");
        let link = format!("pci-0000:00:14.0-usb-0:{socket}:1.{interface}-port0");
        self.link(&format!("serial/by-path/{link}"), name);
    }

    /// A link below `dev/` to a terminal.
    pub(in crate::channel::modem) fn link(&self, link: &str, name: &str) {
        let link = self.folder.path().join("dev").join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&link);
        symlink(self.folder.path().join("dev").join(name), link).unwrap();
    }

    fn by_id(&self, what: &str, interface: u8, name: &str) {
        self.link(
            &format!("serial/by-id/usb-{what}-if{interface:02x}-port0"),
            name,
        );
    }

    fn ports(&self) -> Vec<Port> {
        ports(&self.roots()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let dev = self.roots().dev;
        let ports = self.ports();
        let names = ports.iter().map(|port| {
            let name = port.name().strip_prefix(&dev).unwrap();
            name.display().to_string()
        });
        names.collect()
    }

    /// A program that has a file open.
    pub(in crate::channel::modem) fn process(&self, pid: u32, name: &str, file: &Path) {
        self.write(&format!("proc/{pid}/comm"), name);
        let folder = self.folder.path().join(format!("proc/{pid}/fd"));
        fs::create_dir_all(&folder).unwrap();
        symlink(file, folder.join("7")).unwrap();
    }
}

const PLAIN: (u8, u8, u8) = (0xff, 0xff, 0xff);

#[test]
fn a_port_is_named_by_its_serial_number_where_it_has_one_of_its_own() {
    let machine = Machine::new();
    machine.device("1-2", "2c7c:0125", Some("8A4F2C"));
    for interface in 0..4 {
        let name = format!("ttyUSB{interface}");
        machine.terminal(&name, "1-2", interface, PLAIN);
        machine.by_id("Quectel_EC25_8A4F2C", interface, &name);
    }
    let ports = machine.ports();
    assert_eq!(ports.len(), 4, "each once");
    assert_eq!(
        machine.names()[2],
        "serial/by-id/usb-Quectel_EC25_8A4F2C-if02-port0"
    );
    let guesses: Vec<_> = ports.iter().map(|port| port.guess).collect();
    use Guess::{Commands, Other};
    assert_eq!(guesses, [Other, Other, Commands, Other]);
    let usb = ports[2].usb.as_ref().unwrap();
    assert_eq!(
        (usb.vendor, usb.product, usb.interface, usb.socket.as_str()),
        (0x2c7c, 0x0125, Some(2), "1-2")
    );
    assert_eq!(usb.name.as_deref(), Some("Mobile[31m"), "no escapes");
    assert!(ports[2].stable);
    assert_eq!(ports[2].kernel_name(), "ttyUSB2");
    assert_eq!(ports[2].names.len(), 3);
}

#[test]
fn without_a_serial_number_of_its_own_the_socket_names_it() {
    for serial in [None, Some("0123456789ABCDEF"), Some("000000")] {
        let machine = Machine::new();
        machine.device("1-1.4", "12d1:1506", serial);
        machine.terminal("ttyUSB0", "1-1.4", 0, PLAIN);
        machine.by_id("HUAWEI_Mobile", 0, "ttyUSB0");
        let expected = "serial/by-path/pci-0000:00:14.0-usb-0:1-1.4:1.0-port0";
        assert_eq!(machine.names(), [expected], "{serial:?}");
    }
}

#[test]
fn two_sticks_with_one_serial_number_are_told_apart_by_their_sockets() {
    let machine = Machine::new();
    for (number, socket) in ["1-1.2", "1-1.3"].into_iter().enumerate() {
        machine.device(socket, "19d2:0031", Some("P680A1ZTED"));
        machine.terminal(&format!("ttyUSB{number}"), socket, 1, PLAIN);
    }
    machine.by_id("ZTE_P680A1ZTED", 1, "ttyUSB1");
    assert_eq!(
        machine.names(),
        [
            "serial/by-path/pci-0000:00:14.0-usb-0:1-1.2:1.1-port0",
            "serial/by-path/pci-0000:00:14.0-usb-0:1-1.3:1.1-port0"
        ]
    );
}

#[test]
fn the_operators_own_name_goes_before_all_others() {
    let machine = Machine::new();
    machine.device("1-2", "1546:1102", Some("7"));
    machine.terminal("ttyACM0", "1-2", 0, (2, 2, 1));
    machine.by_id("u-blox_7", 0, "ttyACM0");
    machine.link("relais/1-2-if00", "ttyACM0");
    assert_eq!(machine.names(), ["relais/1-2-if00"]);
    assert_eq!(machine.ports()[0].guess, Guess::Commands);
}

#[test]
fn a_port_without_links_is_found_and_called_unstable() {
    let machine = Machine::new();
    machine.write("dev/ttyUSB10", "");
    machine.write("dev/ttyUSB9", "");
    machine.write("dev/ttyUSBx", "");
    machine.write("dev/ttyS0", "");
    machine.link("serial/by-id/usb-gone", "ttyUSB3");
    assert_eq!(machine.names(), ["ttyUSB9", "ttyUSB10"]);
    let port = &machine.ports()[0];
    assert!(!port.stable && port.usb.is_none() && port.guess == Guess::Unknown);
}

#[test]
fn huawei_tells_its_command_port_by_the_protocol_and_else_it_is_the_last() {
    let machine = Machine::new();
    machine.device("1-2", "12d1:1506", None);
    machine.terminal("ttyUSB0", "1-2", 0, (0xff, 2, 1));
    machine.terminal("ttyUSB1", "1-2", 1, (0xff, 2, 2));
    machine.device("1-3", "12d1:1001", None);
    for interface in 0..3_u8 {
        let name = format!("ttyUSB{}", interface + 2);
        machine.terminal(&name, "1-3", interface, PLAIN);
    }
    let guesses: Vec<_> = machine.ports().iter().map(|port| port.guess).collect();
    use Guess::{Commands, Other};
    assert_eq!(guesses, [Other, Commands, Other, Other, Commands]);
}

#[test]
fn any_name_of_a_port_leads_to_it() {
    let machine = Machine::new();
    machine.device("1-2", "2c7c:0125", Some("8A4F2C"));
    machine.terminal("ttyUSB2", "1-2", 2, PLAIN);
    let roots = machine.roots();
    let port = port_of(&roots, &roots.dev.join("ttyUSB2"));
    assert_eq!(port, machine.ports()[0]);
    let by_path = roots.dev.join(port.name());
    assert_eq!(port_of(&roots, &by_path), port);
    let absent = port_of(&roots, Path::new("/nowhere/modem"));
    assert_eq!(absent.name(), Path::new("/nowhere/modem"));
    assert!(absent.stable);
    assert!(is_kernels_name(Path::new("/dev/ttyUSB0")));
    assert!(!is_kernels_name(Path::new(
        "/dev/serial/by-id/usb-x-if00-port0"
    )));
    assert!(!is_kernels_name(Path::new("/tmp/modem-a")));
}

#[test]
fn who_holds_a_port_is_named() {
    let machine = Machine::new();
    machine.write("dev/ttyUSB0", "");
    machine.write("dev/ttyUSB1", "");
    let roots = machine.roots();
    machine.process(412, "ModemManager", &roots.dev.join("ttyUSB0"));
    machine.process(std::process::id(), "ourselves", &roots.dev.join("ttyUSB0"));
    assert_eq!(
        holders(&roots, &roots.dev.join("ttyUSB0")),
        ["ModemManager (412)"]
    );
    assert!(holders(&roots, &roots.dev.join("ttyUSB1")).is_empty());
    assert!(holders(&roots, &roots.dev.join("ttyUSB2")).is_empty());
}
