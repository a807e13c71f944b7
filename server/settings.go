package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"pix/activity"
	"pix/nixconf"
	"pix/protocol"
	"pix/store"
)

// settingsKey is the key of a connection's settings in the context of its operations.
type settingsKey struct{}

// A settingsHolder holds what the client has set last. There is one for each connection.
type settingsHolder struct {
	current atomic.Pointer[protocol.SetOptionsRequest]
}

// SettingsOf returns what the client has set that caused the call with that context, or
// nil if it has set nothing. There is nothing in it that the client may not set. It must
// not be changed.
func SettingsOf(ctx context.Context) *protocol.SetOptionsRequest {
	h, ok := ctx.Value(settingsKey{}).(*settingsHolder)
	if !ok {
		return nil
	}
	return h.current.Load()
}

// maxFree is the largest length of the value of a setting that every client may set, in bytes: all of them
// are numbers. The connection keeps the values until it ends.
const maxFree = 64

// passedOver are the settings that a client's configuration may well have, and that are
// never taken from it.
var passedOver = map[string]bool{"ssh-auth-sock": true, "experimental-features": true, "plugin-files": true}

// maxSettings is how many bytes the settings of a connection have at most, names and values
// together. They are kept as long as the connection, and no budget counts them.
const maxSettings = 64 << 10

func sizeOfSettings(settings map[string]string) (n int) {
	for name, value := range settings {
		n += len(name) + len(value)
	}
	return n
}

// setOptions keeps the settings that the client may set, and warns of the others. It sends the kept
// settings to the daemon behind the store, if there is one, which warns of invalid values itself.
func (c *conn) setOptions(ctx context.Context, req *protocol.SetOptionsRequest) (*protocol.None, error) {
	kept := *req
	kept.Overrides = make(map[string]string, len(req.Overrides))
	for _, name := range sortedKeys(req.Overrides) {
		value := req.Overrides[name]
		switch s := nixconf.Find(name); {
		case passedOver[name]:
		case c.privileged || c.isFree(name, value):
			if err := check(s, value); err != nil && c.upstream == nil {
				c.warn(ctx, "%v", err)
				continue
			}
			kept.Overrides[name] = value
		case s != nil && s.Who == nixconf.ListedClient:
			if allowed, ok := c.allowedSubstituters(ctx, value); ok {
				kept.Overrides[name] = allowed
			}
		default:
			c.warn(ctx, "ignoring the client-specified setting '%s', because it is a restricted setting and you are not a trusted user", name)
		}
	}
	if n := sizeOfSettings(kept.Overrides); n > maxSettings {
		return nil, fmt.Errorf("the settings have %d bytes, more than the limit of %d", n, maxSettings)
	}
	c.settings.current.Store(&kept)
	if c.upstream != nil {
		return new(protocol.None), c.upstream.SetOptions(ctx, &kept)
	}
	return new(protocol.None), nil
}

// check returns an error if a value is invalid. Unknown settings have no invalid values.
func check(s *nixconf.Setting, value string) error {
	if s == nil {
		return nil
	}
	return s.Check(value)
}

// allowedSubstituters returns the substituters that an untrusted client may choose, and warns of the others.
// A missing slash at the end of one makes no difference. It is not ok if one is no store URI.
func (c *conn) allowedSubstituters(ctx context.Context, value string) (allowed string, ok bool) {
	listed := make(map[string]bool)
	for _, uri := range c.opts.Substituters {
		if canonical, err := nixconf.CanonicalStore(uri); err == nil {
			listed[canonical] = true
		}
	}
	var list []string
	for _, uri := range strings.Fields(value) {
		canonical, err := nixconf.CanonicalStore(uri)
		if err != nil {
			c.warn(ctx, "%v", err)
			return "", false
		}
		name, query, _ := strings.Cut(canonical, "?")
		withSlash := name + "/"
		if query != "" {
			withSlash += "?" + query
		}
		switch {
		case !listed[canonical] && !listed[withSlash]:
			c.warn(ctx, "ignoring untrusted substituter '%s', you are not a trusted user.\nRun `man nix.conf` for more information on the `substituters` configuration option.", uri)
		case !slices.Contains(list, uri):
			list = append(list, uri)
		}
	}
	return strings.Join(list, " "), true
}

// warn sends a line to the client.
func (c *conn) warn(ctx context.Context, format string, args ...any) {
	activity.HandlerOf(ctx).HandleEvent(activity.Log{Text: "warning: " + fmt.Sprintf(format, args...)})
}

// A truster is a store that knows whether it is itself trusted, such as a connection to a
// daemon.
type truster interface{ Trust() protocol.Trust }

// trustOf returns the trust in a client of a store: a client that the store does not trust, or that
// comes through a process which the store does not trust, is not trusted.
func trustOf(trusted bool, s store.Store) protocol.Trust {
	if !trusted {
		return protocol.NotTrusted
	}
	if t, ok := store.As[truster](s); ok {
		return t.Trust()
	}
	return protocol.Trusted
}
