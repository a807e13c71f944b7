package server

import (
	"fmt"
	"os/user"
	"slices"
	"strings"
)

// Access says who may connect, and who is trusted. Users are named as in nix.conf: by their
// name or, where they have none, by their number; @NAME are all users of a group, * is
// everybody.
type Access struct {
	Trusted []string // trusted-users; those may connect, too
	Allowed []string // allowed-users

	// Refused is a group who may not connect even if the lists say so, since builds run as
	// its users (build-users-group); "" is none.
	Refused string
}

// A RefusedError says that a user may not connect.
type RefusedError struct{ User string }

// Error returns the words of Nix.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("user '%s' is not allowed to connect to the Nix daemon", e.User)
}

// Check returns whether a peer is trusted, or a [*RefusedError]. Of a peer that is nil
// nothing is known, and only * is said of it.
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

// A candidate is what a peer is judged by.
type candidate struct {
	user, group string
	inGroup     func(group string) bool
}

// matches reports whether a list names the candidate.
func (c candidate) matches(list []string) bool {
	if slices.Contains(list, "*") || c.user != "" && slices.Contains(list, c.user) {
		return true
	}
	return slices.ContainsFunc(list, func(name string) bool {
		group, ok := strings.CutPrefix(name, "@")
		return ok && group != "" && (group == c.group || c.inGroup(group))
	})
}

// isMember reports whether the system lists the user as a member of the group. That a group
// is the user's own, the one that new processes run as, does not count here, as it does not
// in Nix: what counts is what the process really runs as.
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
