package server

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// Access says which users may connect, and which of them are trusted. As in nix.conf, a user is
// given by name, or by number if it has no name. @NAME means all members of a group, and * all
// users.
type Access struct {
	Trusted []string // trusted-users, who may also connect
	Allowed []string // allowed-users

	// Refused is a group whose members may not connect even if the lists contain them: builds
	// run as these users (build-users-group). "" means none.
	Refused string
}

// A RefusedError reports that a user may not connect.
type RefusedError struct{ User string }

// Error returns the text of Nix.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("user '%s' is not allowed to connect to the Nix daemon", e.User)
}

// Check returns whether a peer is trusted, or a [*RefusedError]. If p is nil, the user is
// unknown, and only * matches.
func (a *Access) Check(p *Peer) (trusted bool, err error) {
	c := candidate{inGroup: func(string) bool { return false }}
	if p != nil {
		c = candidate{user: p.User(), group: p.group()}
		c.inGroup = func(group string) bool { return isMember(c.user, group) }
	}
	trusted = c.matches(a.Trusted)
	if !trusted && !c.matches(a.Allowed) || c.group != "" && c.group == a.Refused {
		return false, &RefusedError{p.User()}
	}
	return trusted, nil
}

// A candidate is a user whose access is checked.
type candidate struct {
	user, group string
	inGroup     func(group string) bool
}

// matches reports whether the list contains the candidate.
func (c candidate) matches(list []string) bool {
	if slices.Contains(list, "*") || c.user != "" && slices.Contains(list, c.user) {
		return true
	}
	return slices.ContainsFunc(list, func(name string) bool {
		group, ok := strings.CutPrefix(name, "@")
		return ok && group != "" && (group == c.group || c.inGroup(group))
	})
}

// isMember reports whether the system lists the user as a member of the group. As in Nix, the
// primary group of the user does not count. Instead the group of the process does, which the
// caller checks.
func isMember(name, group string) bool {
	g, err := user.LookupGroup(group)
	if err != nil {
		return false
	}
	u, err := user.Lookup(name)
	if err != nil || u.Gid == g.Gid {
		return false
	}
	ids, err := u.GroupIds()
	return err == nil && slices.Contains(ids, g.Gid)
}

// A Peer is the process at the other end of a Unix socket, with its user and group at the time
// of the connection. The operating system reports it.
type Peer struct {
	UID, GID uint32
	PID      int // 0 if the process is in another PID namespace
}

// User returns the name of the user, or the user ID if it has no name. It returns "<unknown>"
// if p is nil.
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

// group returns the name of the group of the process, or its group ID.
func (p *Peer) group() string {
	id := strconv.FormatUint(uint64(p.GID), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

// String describes the peer with the text of Nix.
func (p *Peer) String() string {
	pid := "<unknown>"
	if p != nil && p.PID != 0 {
		pid = strconv.Itoa(p.PID)
	}
	return fmt.Sprintf("pid %s, user %s", pid, p.User())
}
