//! A lab: two network namespaces joined by a veth pair, for demonstrations and tests.
//!
//! ```text
//!   namespace lab.client                          namespace lab.server
//!   +------------------------------+              +------------------------------+
//!   | kernel, 192.0.2.1/24         |              | no address: a program answers |
//!   |        nm-client  o----------+---- veth ----+---------o  nm-server          |
//!   |   (offloads off)             |              |  AF_XDP, packet socket, ...   |
//!   +------------------------------+              +------------------------------+
//! ```
//! The namespaces have no name and no mount: the [`Lab`]'s file descriptors hold them, so that they
//! and the links in them are gone when it is dropped or its process dies, by SIGKILL too. What else
//! keeps a namespace: a thread or a child process in it, a socket opened in it. The default
//! namespace never sees either link.
//!
//! IPv6 is off in both namespaces, so that no packet flows that nobody asked for. The end whose
//! kernel has an address has its transmit offloads off: a veth hands packets over as they are, and
//! with offloads on their checksums are not filled in.
//!
//! A veth never pushes back, and completes frames that nobody received: it shows what a program
//! does, not what a device would.
//!
//! Needs `CAP_SYS_ADMIN` and `CAP_NET_ADMIN` ([`missing_privilege`]); kernel 5.8.

mod netns;
mod privilege;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

pub use self::netns::NetNs;
pub use self::privilege::{missing_privilege, skip};
use crate::error::{Cause, Error, Result};
use crate::netlink::{AdminState, Ethtool, Ipv4Interface, LinkSpec, OperState, Route};

/// How long a link may take to become operational: the kernel defers some changes by a second, and does them
/// when its workers run and nobody holds the netlink lock, as who frees many namespaces does.
const LINK_UP_TIMEOUT: Duration = Duration::from_secs(30);

/// Two namespaces and the veth pair between them; dropping it removes all.
///
/// ```no_run
/// use netmem_host::lab::Lab;
///
/// let lab = Lab::builder().queues(2).build()?;
/// let socket = lab.client.run(|| std::net::UdpSocket::bind("0.0.0.0:0"))?;
/// # Ok::<(), netmem_host::Error>(())
/// ```
#[derive(Debug)]
pub struct Lab {
    /// The namespace whose kernel is the client.
    pub client: NetNs,
    /// The namespace of the program under test.
    pub server: NetNs,
    client_link: LabLink,
    server_link: LabLink,
    /// Opened in the client's namespace; deletes the pair when the lab is dropped.
    route: Route,
}

/// One end of a lab's veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LabLink {
    /// Interface name.
    pub name: String,
    /// Interface index in its namespace.
    pub index: u32,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Address and prefix; the server's is on the interface only with [`ServerAddress::Kernel`].
    pub interface: Ipv4Interface,
}

/// Who answers for the server's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerAddress {
    /// A program in user space: the server's kernel knows no address.
    UserSpace,
    /// The server's kernel.
    Kernel,
}

/// What a [`Lab`] shall be like.
#[derive(Debug, Clone)]
#[must_use]
pub struct LabBuilder {
    queues: u32,
    mtu_bytes: u32,
    client: LabLink,
    server: LabLink,
    server_address: ServerAddress,
}

impl Lab {
    /// Begins with one queue each way, an MTU of 1500, `nm-client` at 192.0.2.1/24 and
    /// `nm-server` at 192.0.2.2/24 (addresses for documentation, RFC 5737).
    pub fn builder() -> LabBuilder {
        let link = |name: &str, last| LabLink {
            name: name.to_owned(),
            index: 0,
            mac: [0x02, b'n', b'm', 0, 0, last],
            interface: Ipv4Interface { address: Ipv4Addr::new(192, 0, 2, last), prefix_len: 24 },
        };
        LabBuilder {
            queues: 1,
            mtu_bytes: 1500,
            client: link("nm-client", 1),
            server: link("nm-server", 2),
            server_address: ServerAddress::UserSpace,
        }
    }

    /// Returns the client's end of the pair.
    pub fn client_link(&self) -> &LabLink {
        &self.client_link
    }

    /// Returns the server's end of the pair.
    pub fn server_link(&self) -> &LabLink {
        &self.server_link
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // With the link gone at once, not when the kernel gets to freeing the namespaces. An error
        // means that it is gone already; and with the namespaces it would go in any case.
        let _ = self.route.delete_link(&self.client_link.name);
    }
}

impl LabBuilder {
    /// Sets the number of receive and of transmit queues of each end, 1 to 4096.
    pub fn queues(self, queues: u32) -> Self {
        Self { queues, ..self }
    }

    /// Sets the largest payload of a frame, in bytes, without the link header: 68 to 65535.
    pub fn mtu(self, mtu_bytes: u32) -> Self {
        Self { mtu_bytes, ..self }
    }

    /// Sets the addresses of both ends; without a route in between they share a network.
    pub fn addresses(mut self, client: Ipv4Interface, server: Ipv4Interface) -> Self {
        (self.client.interface, self.server.interface) = (client, server);
        self
    }

    /// Sets the interface names of both ends, 1 to 15 bytes each.
    pub fn names(mut self, client: impl Into<String>, server: impl Into<String>) -> Self {
        (self.client.name, self.server.name) = (client.into(), server.into());
        self
    }

    /// Sets the hardware addresses of both ends; by default they are locally administered.
    pub fn macs(mut self, client: [u8; 6], server: [u8; 6]) -> Self {
        (self.client.mac, self.server.mac) = (client, server);
        self
    }

    /// Sets who answers for the server's address: by default a program in user space.
    pub fn server_address(self, server_address: ServerAddress) -> Self {
        Self { server_address, ..self }
    }

    /// Makes the lab, and waits until both links pass packets.
    ///
    /// # Errors
    /// A privilege is missing (`EPERM`; see [`missing_privilege`]), the kernel has no veth
    /// (`EOPNOTSUPP`) or no ethtool netlink (`ENOENT`), or does not accept a setting. Nothing is
    /// left behind.
    pub fn build(self) -> Result<Lab> {
        let (client, server) = (NetNs::create()?, NetNs::create()?);
        let (mut client_route, mut client_ethtool) = client.run(prepare)??;
        let (mut server_route, mut server_ethtool) = server.run(prepare)??;

        let (near, far) = (self.spec(&self.client), self.spec(&self.server));
        client_route.create_veth(&near, &far, &server)?;
        client_route.add_address(&near.name, self.client.interface)?;
        all_offloads_off(&mut client_ethtool, &near.name)?;
        if self.server_address == ServerAddress::Kernel {
            server_route.add_address(&far.name, self.server.interface)?;
            all_offloads_off(&mut server_ethtool, &far.name)?;
        }
        client_route.set_state(&near.name, AdminState::Up)?;
        server_route.set_state(&far.name, AdminState::Up)?;
        let client_index = wait_until_up(&mut client_route, &near.name)?;
        let server_index = wait_until_up(&mut server_route, &far.name)?;
        Ok(Lab {
            client,
            server,
            client_link: LabLink { index: client_index, ..self.client },
            server_link: LabLink { index: server_index, ..self.server },
            route: client_route,
        })
    }

    fn spec(&self, link: &LabLink) -> LinkSpec {
        LinkSpec {
            name: link.name.clone(),
            mac: Some(link.mac),
            mtu: Some(self.mtu_bytes),
            rx_queues: Some(self.queues),
            tx_queues: Some(self.queues),
        }
    }
}

/// Readies the calling thread's new namespace, before there is a link that could send anything.
fn prepare() -> Result<(Route, Ethtool)> {
    for scope in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
        match fs::write(&path, "1") {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(|error| Error::new("write", path, error))?,
        }
    }
    let mut route = Route::open()?;
    route.set_state("lo", AdminState::Up)?;
    Ok((route, Ethtool::open()?))
}

fn all_offloads_off(ethtool: &mut Ethtool, name: &str) -> Result<()> {
    let offloads = ethtool.offloads_off(name)?;
    if offloads.still_on.is_empty() {
        return Ok(());
    }
    let cause = Cause::Unmet(format!("{} cannot be changed", offloads.still_on.join(", ")));
    Err(Error::new("turn off offloads of", name, cause))
}

/// Waits until a link that was set up passes packets, and returns its index.
///
/// The kernel notices a carrier in a work item; until then the link's queueing discipline is
/// `noop`, which drops all (`linkwatch_do_dev` in net/core/link_watch.c).
fn wait_until_up(route: &mut Route, name: &str) -> Result<u32> {
    let deadline = Instant::now() + LINK_UP_TIMEOUT;
    loop {
        let link = route.link(name)?;
        if link.oper_state == OperState::Up && link.qdisc != "noop" {
            return Ok(link.index);
        }
        if Instant::now() >= deadline {
            let cause =
                Cause::Unmet(format!("still {:?} after {LINK_UP_TIMEOUT:?}", link.oper_state));
            return Err(Error::new("wait for link", name, cause));
        }
        thread::sleep(Duration::from_millis(1));
    }
}
