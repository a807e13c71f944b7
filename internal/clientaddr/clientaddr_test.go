package clientaddr_test

import (
	"net"
	"net/netip"
	"testing"

	"pix/internal/clientaddr"
)

func TestNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:80":              "192.0.2.1/32",
		"[::ffff:192.0.2.1]:80":     "192.0.2.1/32",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":         "fe80::/64",
		"127.0.0.2:80":              "invalid Prefix",
		"[::1]:80":                  "invalid Prefix",
		"[::ffff:127.0.0.1]:80":     "invalid Prefix",
	} {
		if got := clientaddr.ParseNetwork(addr).String(); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
		if got := clientaddr.Network(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))).String(); got != want {
			t.Errorf("%s as an address: got %s, want %s", addr, got, want)
		}
	}
	for _, addr := range []string{"", "@", "/run/socket", "localhost:80"} {
		if got := clientaddr.ParseNetwork(addr); got.IsValid() {
			t.Errorf("%q: got %s", addr, got)
		}
	}
	if got := clientaddr.Network(&net.UnixAddr{Name: "/run/socket", Net: "unix"}); got.IsValid() {
		t.Errorf("a Unix socket: got %s", got)
	}
}
