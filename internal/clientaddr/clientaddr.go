// Package clientaddr tells the clients of a server apart by their addresses.
package clientaddr

import (
	"net"
	"net/netip"
)

// Network returns the address of an IPv4 client, or the /64 network of an IPv6 client, which has many addresses. It is
// the zero Prefix for loopback addresses, because a proxy on this machine connects for many clients, and for addresses
// that are not TCP addresses, such as Unix sockets.
func Network(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return network(tcp.AddrPort().Addr())
}

// ParseNetwork is [Network] for a text, such as RemoteAddr of an [http.Request].
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
