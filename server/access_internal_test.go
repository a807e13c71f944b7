package server

import (
	"errors"
	"testing"
)

func TestCandidates(t *testing.T) {
	alice := candidate{user: "alice", group: "users", inGroup: func(g string) bool { return g == "wheel" }}
	nobody := candidate{inGroup: func(string) bool { return false }}
	for _, c := range []struct {
		who  candidate
		list []string
		want bool
	}{
		{alice, nil, false},
		{alice, []string{"*"}, true},
		{alice, []string{"bob", "alice"}, true},
		{alice, []string{"users"}, false}, // without @ it is the name of a user
		{alice, []string{"@users"}, true},
		{alice, []string{"@wheel"}, true},
		{alice, []string{"@alice", "@"}, false},
		{alice, []string{"@*"}, false},
		{nobody, []string{"", "@", "root"}, false},
		{nobody, []string{"*"}, true},
	} {
		if got := c.who.matches(c.list); got != c.want {
			t.Errorf("%q in %q: %v, want %v", c.who.user, c.list, got, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	root := &Peer{PID: 1}
	stranger := &Peer{UID: 4_000_001, GID: 4_000_002} // unknown to the system
	all := &Access{Trusted: []string{"root"}, Allowed: []string{"*"}, Refused: "nixbld"}
	for _, c := range []struct {
		access  *Access
		peer    *Peer
		trusted bool
		refused string
	}{
		{all, root, true, ""},
		{all, stranger, false, ""},
		{all, nil, false, ""},
		{new(Access), root, false, "root"},
		{new(Access), nil, false, "<unknown>"},
		{&Access{Allowed: []string{"root"}}, stranger, false, "4000001"},
		{&Access{Allowed: []string{"root"}}, root, false, ""},
		{&Access{Trusted: []string{"4000001"}}, stranger, true, ""}, // a trusted user may connect
		{&Access{Trusted: []string{"@4000002"}}, stranger, true, ""},
		{&Access{Trusted: []string{"*"}}, nil, true, ""},
		{&Access{Trusted: []string{"*"}, Refused: "4000002"}, stranger, false, "4000001"},
		{&Access{Trusted: []string{"*"}, Refused: ""}, stranger, true, ""},
	} {
		trusted, err := c.access.Check(c.peer)
		var refused *RefusedError
		if errors.As(err, &refused); trusted != c.trusted || (c.refused == "") != (err == nil) || refused != nil && refused.User != c.refused {
			t.Errorf("%+v of %+v: %v, %v", c.access, c.peer, trusted, err)
		}
	}
}
