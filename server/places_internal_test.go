package server

import (
	"net"
	"testing"

	"pix/store/memstore"
)

// enterAs counts a connection of a user.
func enterAs(t *testing.T, s *Server, uid uint32, trusted bool) (c *conn, leave func()) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	c = newConn(t.Context(), theirs, s.Store, &Options{Trusted: trusted}, s.memory, owner{uid: uid})
	t.Cleanup(func() { c.finish(nil) })
	return c, s.register(c, &Peer{UID: uid})
}

func newTestServer(t *testing.T, most, each int) *Server {
	s := &Server{Store: memstore.New(nil), MaxClients: most, MaxClientsPerUser: each}
	s.start()
	return s
}

// Any number of untrusted users leaves a connection for a trusted one.
func TestConnectionsForTrustedUsers(t *testing.T) {
	for _, most := range []int{2, 4, 8, 9, 100} {
		s := newTestServer(t, most, most)
		served := 0
		for uid := range uint32(2 * most) {
			if c, _ := enterAs(t, s, 1000+uid, false); c.refused == nil {
				served++
			}
		}
		reserved := (most + 7) / 8
		if served != most-reserved {
			t.Errorf("of %d connections untrusted users have %d", most, served)
		}
		for i := range reserved {
			if c, _ := enterAs(t, s, 0, true); c.refused != nil || c.abortReason() != nil {
				t.Errorf("of %d connections %d are reserved for trusted users, want %d", most, i, reserved)
			}
		}
		if c, _ := enterAs(t, s, 0, true); c.refused != ErrTooMany {
			t.Errorf("a trusted user exceeds the limit: %v", c.refused)
		}
	}
}

// Two users with all their connections do not reach the limit.
func TestTwoUsersLeaveConnections(t *testing.T) {
	s := newTestServer(t, 4, 0)
	for _, uid := range []uint32{1, 1, 1, 2, 2, 2} {
		enterAs(t, s, uid, false)
	}
	if c, _ := enterAs(t, s, 0, true); c.refused != nil {
		t.Errorf("root: %v", c.refused)
	}
	if s.served != 4 {
		t.Errorf("%d are served", s.served)
	}
}

// Clients that are being refused do not keep others from being served.
func TestRefusedClientsDoNotCount(t *testing.T) {
	s := newTestServer(t, 10, 1)
	enterAs(t, s, 1, false)
	cut := 0
	for range 3 * maxRefused {
		c, _ := enterAs(t, s, 1, false)
		if c.refused == nil {
			t.Fatal("a client over the limit is served")
		}
		if c.abortReason() != nil {
			cut++
		}
	}
	if cut != 2*maxRefused {
		t.Errorf("%d connections were closed", cut)
	}
	for _, trusted := range []bool{false, true} {
		if c, _ := enterAs(t, s, 2, trusted); c.refused != nil || c.abortReason() != nil {
			t.Errorf("another user, trusted %v: %v, %v", trusted, c.refused, c.abortReason())
		}
	}
}

func TestConnectionsAreUncounted(t *testing.T) {
	s := newTestServer(t, 4, 2)
	for range 10 {
		_, first := enterAs(t, s, 1, false)
		_, second := enterAs(t, s, 1, false)
		if c, third := enterAs(t, s, 1, false); c.refused == nil {
			t.Fatal("three clients are served")
		} else {
			third()
		}
		first()
		second()
	}
	if s.served != 0 || s.untrusted != 0 || len(s.users) != 0 || len(s.conns) != 0 {
		t.Errorf("%d, %d, %d users, %d connections are left", s.served, s.untrusted, len(s.users), len(s.conns))
	}
}

func TestDefaultLimits(t *testing.T) {
	most, untrusted, each := new(Server).connLimits()
	if most < 1 || most > 4096 || untrusted >= most || each >= untrusted {
		t.Errorf("%d connections, %d for untrusted users, %d for each user", most, untrusted, each)
	}
}
