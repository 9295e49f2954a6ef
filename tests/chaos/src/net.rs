//! The network of a run: a bridge in the room, and a namespace for each peer.
//!
//! What peer `i` sends to the peer port of `j` is sent by its own namespace to
//! the proxy of the pair (i, j) in the room, and by that to a port of `j` that
//! stands for `i`. The same is done for what it sends to the port of lanes of `j`,
//! with another proxy behind the same valve. So every directed pair has a place where bytes can be held
//! back or cut (the proxy), and one where packets can be lost (the port).

use std::net::Ipv4Addr;

use crate::proxy::{Proxy, Valve};
use crate::shell;

/// Ports of the peers, the same for all: each has an address of its own.
pub const SERVICE_PORT: u16 = 6355;
/// Peer port.
pub const PEER_PORT: u16 = 6356;
/// Port of lanes.
pub const LANE_PORT: u16 = 6357;
/// Metrics and health.
pub const METRICS_PORT: u16 = 2112;
/// At `j`, the port for what `i` sends to the peer port is this and `i`.
const FROM_PORT: u16 = 6400;
/// The same for what it sends to the port of lanes.
const LANE_FROM_PORT: u16 = 6500;
/// The address of the room.
const HUB: &str = "10.77.0.1";
/// More addresses of the room, for crowds: a peer bounds the connections of one
/// address, and those of clients and proxies are not to be among them.
pub const CROWD: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 1, 1), Ipv4Addr::new(10, 77, 1, 2)];

/// The network of so many places.
pub struct Net {
    places: usize,
    /// The proxy of (i, j), at `i * places + j`; none for a peer to itself.
    pairs: Vec<Option<Proxy>>,
    /// One in front of the service port of each peer, for clients whose
    /// connections are to be cut.
    clients: Vec<Proxy>,
}

impl Net {
    /// Builds the network.
    ///
    /// # Errors
    /// What the system refused.
    pub fn new(places: usize) -> Result<Self, String> {
        // `ip netns` keeps its names in a folder that all rooms would share.
        std::fs::create_dir_all("/run/netns").map_err(|e| format!("/run/netns: {e}"))?;
        shell::line("mount -t tmpfs tmpfs /run/netns")?;
        shell::line("ip link set lo up")?;
        shell::line("ip link add hub type bridge")?;
        shell::line("ip link set hub up")?;
        shell::line(&format!("ip addr add {HUB}/16 dev hub"))?;
        for address in CROWD {
            shell::line(&format!("ip addr add {address}/16 dev hub"))?;
        }
        let mut net = Self {
            places,
            pairs: Vec::new(),
            clients: Vec::new(),
        };
        for n in 0..places {
            net.add_namespace(n)?;
        }
        for from in 0..places {
            for to in 0..places {
                let proxy = if from == to {
                    None
                } else {
                    Some(net.add_pair(from, to)?)
                };
                net.pairs.push(proxy);
            }
        }
        for n in 0..places {
            let proxy = Proxy::start(HUB, &service_address(n))?;
            net.clients.push(proxy);
        }
        Ok(net)
    }

    fn add_namespace(&self, n: usize) -> Result<(), String> {
        let name = namespace(n);
        shell::line(&format!("ip netns add {name}"))?;
        shell::line(&format!(
            "ip link add v{n} type veth peer name eth0 netns {name}"
        ))?;
        shell::line(&format!("ip link set v{n} master hub up"))?;
        shell::line(&format!("ip -n {name} link set lo up"))?;
        shell::line(&format!("ip -n {name} link set eth0 up"))?;
        shell::line(&format!("ip -n {name} addr add {}/16 dev eth0", host(n)))?;
        Ok(())
    }

    /// Both ways of a pair, behind one valve.
    fn add_pair(&self, from: usize, to: usize) -> Result<Proxy, String> {
        let proxy = self.add_way(from, to, Valve::default(), PEER_PORT, FROM_PORT)?;
        let valve = proxy.valve().clone();
        // It works without being held.
        self.add_way(from, to, valve, LANE_PORT, LANE_FROM_PORT)?;
        Ok(proxy)
    }

    fn add_way(
        &self,
        from: usize,
        to: usize,
        valve: Valve,
        of_peer: u16,
        first: u16,
    ) -> Result<Proxy, String> {
        let port = port_of(first, from);
        let proxy = Proxy::start_behind(valve, HUB, &format!("{}:{port}", host(to)))?;
        tables(
            from,
            &format!(
                "-t nat -A OUTPUT -p tcp -d {} --dport {of_peer} -j DNAT --to-destination {}",
                host(to),
                proxy.address()
            ),
        )?;
        tables(
            to,
            &format!("-t nat -A PREROUTING -p tcp --dport {port} -j REDIRECT --to-ports {of_peer}"),
        )?;
        Ok(proxy)
    }

    /// How many places there are.
    pub fn places(&self) -> usize {
        self.places
    }

    /// The valve on the way from `from` to `to`.
    ///
    /// # Panics
    /// For a place to itself.
    pub fn valve(&self, from: usize, to: usize) -> &Valve {
        match &self.pairs[from * self.places + to] {
            Some(proxy) => proxy.valve(),
            None => panic!("no peer sends to itself"),
        }
    }

    /// The valves of all pairs that `n` has a part in.
    pub fn valves_of(&self, n: usize) -> Vec<&Valve> {
        let others = (0..self.places).filter(|other| *other != n);
        others
            .flat_map(|other| [self.valve(n, other), self.valve(other, n)])
            .collect()
    }

    /// The valve in front of the services of `n`, and its address.
    pub fn client_way(&self, n: usize) -> (&Valve, String) {
        let proxy = &self.clients[n];
        (proxy.valve(), proxy.address())
    }

    /// Loses all packets from `from` to `to`.
    ///
    /// # Errors
    /// What the system refused.
    pub fn block(&self, from: usize, to: usize) -> Result<(), String> {
        self.drop_packets(from, to, "")
    }

    /// Loses all packets of the lane from `from` to `to`, and no others.
    ///
    /// # Errors
    /// What the system refused.
    pub fn block_lane(&self, from: usize, to: usize) -> Result<(), String> {
        drop_at(to, port_of(LANE_FROM_PORT, from), "")
    }

    /// Loses this share of the packets from `from` to `to`.
    ///
    /// # Errors
    /// What the system refused.
    pub fn lose(&self, from: usize, to: usize, share: f64) -> Result<(), String> {
        let rule = format!("-m statistic --mode random --probability {share:.3}");
        self.drop_packets(from, to, &rule)
    }

    fn drop_packets(&self, from: usize, to: usize, which: &str) -> Result<(), String> {
        for first in [FROM_PORT, LANE_FROM_PORT] {
            drop_at(to, port_of(first, from), which)?;
        }
        Ok(())
    }

    /// Takes the cable of `n` out, clients included, or plugs it in again.
    ///
    /// # Errors
    /// What the system refused.
    pub fn set_cable(&self, n: usize, plugged: bool) -> Result<(), String> {
        let state = if plugged { "up" } else { "down" };
        shell::line(&format!("ip link set v{n} {state}")).map(|_| ())
    }

    /// Ends every loss; how many packets were lost since the last time.
    ///
    /// # Errors
    /// What the system refused.
    pub fn end_losses(&self) -> Result<u64, String> {
        let mut lost = 0;
        for n in 0..self.places {
            let listed = tables(n, "-t mangle -L PREROUTING -v -x -n")?;
            let packets = |line: &str| line.split_whitespace().next()?.parse::<u64>().ok();
            lost += listed
                .lines()
                .filter(|line| line.contains("DROP"))
                .filter_map(packets)
                .sum::<u64>();
            tables(n, "-t mangle -F PREROUTING")?;
        }
        Ok(lost)
    }

    /// Opens every valve and plugs every cable in.
    ///
    /// # Errors
    /// What the system refused.
    pub fn heal(&self) -> Result<(), String> {
        self.end_losses()?;
        let pairs = self.pairs.iter().flatten();
        pairs.chain(&self.clients).for_each(|p| p.valve().open());
        (0..self.places).try_for_each(|n| self.set_cable(n, true))
    }
}

/// The network namespace of a place.
pub fn namespace(n: usize) -> String {
    format!("p{n}")
}

/// The address of a place.
pub fn host(n: usize) -> String {
    format!("10.77.0.{}", 10 + n)
}

/// `host:port` of the services of a place.
pub fn service_address(n: usize) -> String {
    format!("{}:{SERVICE_PORT}", host(n))
}

/// `host:port` of a place for other peers.
pub fn peer_address(n: usize) -> String {
    format!("{}:{PEER_PORT}", host(n))
}

/// `host:port` of metrics and health of a place.
pub fn metrics_address(n: usize) -> String {
    format!("{}:{METRICS_PORT}", host(n))
}

/// At its receivers, the port that stands for `from`, of those from `first` on.
fn port_of(first: u16, from: usize) -> u16 {
    first + u16::try_from(from).unwrap_or(0)
}

fn drop_at(to: usize, port: u16, which: &str) -> Result<(), String> {
    let rule = format!("-t mangle -A PREROUTING -p tcp --dport {port} {which} -j DROP");
    tables(to, &rule).map(|_| ())
}

fn tables(n: usize, rule: &str) -> Result<String, String> {
    let file = format!("--net=/run/netns/{}", namespace(n));
    let mut arguments = vec![file.as_str(), "iptables", "-w"];
    arguments.extend(rule.split_whitespace());
    shell::run("nsenter", &arguments)
}
