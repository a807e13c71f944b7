package server

import (
	"net"
	"testing"

	"pix/store/memstore"
)

// The limit on temporary roots of an untrusted user applies to all connections of the user
// together.
func TestMaxTempRoots(t *testing.T) {
	s := &Server{Store: memstore.New(nil)}
	s.start()
	join := func(trusted bool, uid uint32) (*conn, func()) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close() })
		c := newConn(t.Context(), theirs, s.Store, &Options{Trusted: trusted}, s.memory, owner{uid: uid})
		return c, s.register(c, &Peer{UID: uid})
	}
	ask := func(c *conn, n int) (got int) {
		for range n {
			if c.countTempRoots(1) == nil {
				got++
			}
		}
		return got
	}
	first, leaveFirst := join(false, 1)
	second, leaveSecond := join(false, 1)
	other, _ := join(false, 2)
	trusted, _ := join(true, 1)
	if a, b := ask(first, maxTempRoots-10), ask(second, 20); a != maxTempRoots-10 || b != 10 {
		t.Errorf("%d and %d", a, b)
	}
	if a, b := ask(other, 20), ask(trusted, 20); a != 20 || b != 20 {
		t.Errorf("others: %d and %d", a, b)
	}
	first.user.roots.Add(-first.roots) // as at the end of the connection
	leaveFirst()
	if got := ask(second, 20); got != 20 {
		t.Errorf("afterwards: %d", got)
	}
	leaveSecond()
	if len(s.users) != 1 {
		t.Errorf("%d users are left", len(s.users))
	}
}
