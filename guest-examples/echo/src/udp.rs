//! The UDP half: every datagram goes back to where it came from.

use wasip2::io::poll::Pollable;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpSocketAddress};
use wasip2::sockets::udp::{IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket};
use wasip2::sockets::udp_create_socket::create_udp_socket;

use crate::{FAMILY, Failure, any_address, complain};

/// Received at once, and so held while they cannot be sent: of the largest, 4 MiB.
const DATAGRAMS_MAX: u64 = 64;

pub struct Datagrams {
    pub address: IpSocketAddress,
    /// Received and not yet sent back, in order. While there are any, no more are received.
    waiting: Vec<OutgoingDatagram>,
    // Pollables are children of their streams, and streams of their socket: dropped in this order.
    receivable: Pollable,
    sendable: Pollable,
    incoming: IncomingDatagramStream,
    outgoing: OutgoingDatagramStream,
    _socket: UdpSocket,
}

impl Datagrams {
    pub fn bind(port: u16) -> Result<Datagrams, Failure> {
        let socket = create_udp_socket(FAMILY).map_err(Failure::at("create a UDP socket"))?;
        socket.start_bind(&instance_network(), any_address(port)).map_err(Failure::at("bind UDP"))?;
        loop {
            match socket.finish_bind() {
                Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
                result => break result.map_err(Failure::at("bind UDP"))?,
            }
        }
        let address = socket.local_address().map_err(Failure::at("learn the UDP address"))?;
        let (incoming, outgoing) = socket.stream(None).map_err(Failure::at("open the UDP streams"))?;
        Ok(Datagrams {
            address,
            waiting: Vec::new(),
            receivable: incoming.subscribe(),
            sendable: outgoing.subscribe(),
            incoming,
            outgoing,
            _socket: socket,
        })
    }

    pub fn pollable(&self) -> &Pollable {
        match self.waiting.is_empty() {
            true => &self.receivable,
            false => &self.sendable,
        }
    }

    pub fn advance(&mut self) {
        if self.waiting.is_empty() {
            match self.incoming.receive(DATAGRAMS_MAX) {
                Ok(received) => self.waiting.extend(received.into_iter().map(|datagram| OutgoingDatagram {
                    data: datagram.data,
                    remote_address: Some(datagram.remote_address),
                })),
                Err(code) => complain("receive", code),
            }
        }
        if let Err(code) = self.send() {
            // The first of them cannot be sent to its peer. UDP may lose datagrams; the others must not wait for it.
            complain("send", code);
            self.waiting.remove(0);
        }
    }

    /// Sends as many as may be sent now; the host says how many of them it took.
    fn send(&mut self) -> Result<(), ErrorCode> {
        while !self.waiting.is_empty() {
            let permitted = usize::try_from(self.outgoing.check_send()?).unwrap_or(usize::MAX);
            if permitted == 0 {
                return Ok(());
            }
            let now = &self.waiting[..permitted.min(self.waiting.len())];
            let sent = self.outgoing.send(now)?;
            if sent == 0 {
                return Ok(());
            }
            self.waiting.drain(..sent as usize);
        }
        Ok(())
    }
}
