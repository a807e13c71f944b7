// Package clientaddr tells the clients of a server apart by their addresses.
package clientaddr

import (
	"net"
	"net/netip"
)

// Network returns the address of a client, or the network of an IPv6 client, which has many addresses: a /64. It is the zero Prefix
// for loopback addresses, because a proxy on this machine connects for many clients, and for other kinds of addresses, such as the ones
// of Unix sockets.
func Network(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return network(tcp.AddrPort().Addr())
}

// ParseNetwork is [Network] for an address in text, such as the one of an [http.Request].
func ParseNetwork(addr string) netip.Prefix {
	parsed, err := netip.ParseAddrPort(addr)
	if err != nil { // a Unix socket
		return netip.Prefix{}
	}
	return network(parsed.Addr())
}

func network(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	if !ip.IsValid() || ip.IsLoopback() {
		return netip.Prefix{}
	}
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	client, _ := ip.Prefix(bits) // the number of bits is valid
	return client
}
