package server

import (
	"fmt"
	"os/user"
	"strconv"
)

// A Peer is who is at the other end of a Unix socket, as the system says: the process that
// connected, and whom it ran as at that moment.
type Peer struct {
	UID, GID uint32
	PID      int // 0 if it cannot be seen from here
}

// User returns the name of the user, or the number where it has none; "<unknown>" if p is
// nil.
func (p *Peer) User() string {
	if p == nil {
		return "<unknown>"
	}
	id := strconv.FormatUint(uint64(p.UID), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// group returns the name of the group that the process ran as, or its number.
func (p *Peer) group() string {
	id := strconv.FormatUint(uint64(p.GID), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

// String returns who it is, in the words of Nix.
func (p *Peer) String() string {
	pid := "<unknown>"
	if p != nil && p.PID != 0 {
		pid = strconv.Itoa(p.PID)
	}
	return fmt.Sprintf("pid %s, user %s", pid, p.User())
}
