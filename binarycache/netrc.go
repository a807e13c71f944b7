package binarycache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"pix/activity"
)

// A netrc is a netrc file, which has logins and passwords for hosts. It is read when it is first
// needed, and again when it has changed, since passwords are replaced while a daemon runs.
//
// A file that does not exist has no entries, as for Nix. A file that cannot be read has none either,
// and the caller gets one warning.
type netrc struct {
	file string // "" is none

	mu      sync.Mutex
	info    fs.FileInfo // of the file that the entries are from; nil if they are not of a file
	entries []netrcEntry
	warning string // the last one
}

// lookUp returns the first entry that is for a host and user: see [netrcEntry.isFor].
func (n *netrc) lookUp(ctx context.Context, host, user string, strict bool) (netrcEntry, bool) {
	if n.file == "" {
		return netrcEntry{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.update(); err != nil {
		n.warn(ctx, err)
	}
	for _, e := range n.entries {
		if e.isFor(host, user, strict) {
			return e, true
		}
	}
	return netrcEntry{}, false
}

// update reads the file, unless it has not changed. After an error there are no entries, except those
// before a syntax error.
func (n *netrc) update() error {
	info, err := os.Stat(n.file)
	if err == nil && n.isUnchanged(info) {
		return nil
	}
	n.info, n.entries = nil, nil
	if err == nil {
		err = n.read()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (n *netrc) isUnchanged(info fs.FileInfo) bool {
	return n.info != nil && os.SameFile(info, n.info) && info.Size() == n.info.Size() && info.ModTime().Equal(n.info.ModTime())
}

func (n *netrc) read() error {
	f, info, err := openRegular(n.file)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := readUpTo(f, maxSmall)
	if err != nil {
		return err
	}
	if n.entries, err = parseNetrc(string(text)); err != nil {
		return err
	}
	n.info = info
	return nil
}

// warn warns the caller of an error, unless it is the same as before.
func (n *netrc) warn(ctx context.Context, err error) {
	if inPath, ok := errors.AsType[*fs.PathError](err); ok {
		err = inPath.Err
	}
	text := fmt.Sprintf("warning: the netrc file '%s' cannot be read: %v", n.file, err)
	if h := activity.HandlerOf(ctx); h != nil && text != n.warning {
		n.warning = text
		h.HandleEvent(activity.Log{Level: activity.LevelWarn, Text: text})
	}
}

// A netrcEntry is a login and a password for a host.
type netrcEntry struct {
	host      string
	isDefault bool // for all hosts; there is no name of one

	login, password       string
	hasLogin, hasPassword bool
}

// isFor reports whether an entry is for a host and, unless it is "", for a user. The host must be the one
// that the entry names, without a port. Only the case of letters is ignored.
//
// A server can name any other host, in a redirect or in a narinfo. No password may go there that the
// user did not mean for exactly that host. So strict ignores default entries and incomplete ones.
func (e *netrcEntry) isFor(host, user string, strict bool) bool {
	switch {
	case !e.isDefault && !strings.EqualFold(e.host, host):
		return false
	case strict && (e.isDefault || !e.hasLogin || !e.hasPassword):
		return false
	case user != "" && e.hasLogin:
		return e.login == user && e.hasPassword
	}
	return e.hasLogin || e.hasPassword
}

// complete returns a user and a password, either of which may be missing, with what the entry has of
// them.
func (e *netrcEntry) complete(user, password string) (string, string) {
	if e.hasPassword {
		password = e.password
	}
	return cmp.Or(user, e.login), password
}
