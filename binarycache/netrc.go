package binarycache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"pix/activity"
	netrcfile "pix/internal/netrc"
)

// A netrc is a netrc file, which has logins and passwords for hosts. It is read when it is first
// needed, and again when it has changed, because passwords may be replaced while a daemon runs.
//
// A file that does not exist has no entries, as in Nix. A file that cannot be read has none either,
// and the handler in the context gets one warning.
type netrc struct {
	file string // the path; "" if there is no file

	mu      sync.Mutex
	info    fs.FileInfo // of the file that was read; nil if none was read without an error
	entries []netrcfile.Entry
	warning string // the last one
}

// lookUp returns the first entry for a host and user: see [netrcfile.Entry.IsFor].
func (n *netrc) lookUp(ctx context.Context, host, user string, strict bool) (netrcfile.Entry, bool) {
	if n.file == "" {
		return netrcfile.Entry{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.update(); err != nil {
		n.warn(ctx, err)
	}
	for _, e := range n.entries {
		if e.IsFor(host, user, strict) {
			return e, true
		}
	}
	return netrcfile.Entry{}, false
}

// update reads the file if it has changed. After an error there are no entries, except the entries
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
	if n.entries, err = netrcfile.Parse(string(text)); err != nil {
		return err
	}
	n.info = info
	return nil
}

// warn reports an error to the handler in ctx, unless it is the same as the last one.
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

// complete returns the password of an entry, if it has one, or else password; and user, or the login
// of the entry if user is "".
func complete(e *netrcfile.Entry, user, password string) (string, string) {
	if e.HasPassword {
		password = e.Password
	}
	return cmp.Or(user, e.Login), password
}
