package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pix/activity"
	"pix/nixconf"
	"pix/protocol"
	"pix/signature"
	"pix/store"
)

// NixVersion is the version that the handshake reports to clients. Clients compare its numbers,
// so it begins with the version of Nix whose behaviour the server implements. The name of pix
// follows.
const NixVersion = "2.34.8-pix"

// Options configure a connection. Nil and the zero values are useful.
type Options struct {
	// Trusted allows the client everything that the store can do. If the store is a connection
	// to a daemon (its method Trust returns a protocol.Trust), that daemon must trust this
	// process, too.
	Trusted bool

	// Substituters are the URIs of the substituters that untrusted clients may choose. The
	// choice of a client, trusted or not, is in the overrides of [SettingsOf].
	Substituters []string

	// TrustedKeys returns the trusted keys for uploads by a trusted client with these settings.
	// If TrustedKeys is nil or returns nil, the trusted keys of the store apply.
	TrustedKeys func(*protocol.SetOptionsRequest) (signature.KeySet, error)

	// LocalRoots makes this process create the symlinks of permanent roots, with the rights of
	// its own user, and register them with the store as indirect roots. It is for a server in
	// front of another daemon on the same machine, which would create them with its own rights.
	LocalRoots bool

	// Version is the newest protocol version to offer. 0 means [protocol.MaxVersion].
	Version protocol.Version

	// NoFeatures removes [protocol.AllFeatures] from the offer, as Nix up to 2.34 does.
	NoFeatures bool

	// BuildFeatures are features of [protocol.BuildFeatures] that the server offers in
	// addition, to a client that is a running build. With NoFeatures, they can also include
	// [protocol.RealisationWithPath]. [protocol.Scanning] needs a [store.ScanningAdder], and
	// [protocol.OutputSubmission] a [store.OutputSubmitter]. If the store is not one, the server
	// does not offer the feature. With [protocol.NoSetOptions] the client has no settings.
	BuildFeatures protocol.Features

	// NixVersion is the version that the handshake reports to clients. It should begin with a
	// version of Nix. "" means [NixVersion].
	NixVersion string

	// Before is called before the work on each request. If it returns an error, the client gets
	// that error instead. The context has the handler for events and the settings of the
	// client. The client waits until Before returns.
	Before func(context.Context, protocol.Request) error

	// MaxRequest limits the size of a request in bytes. 0 means 64 MiB. The contents of objects
	// do not count, except texts from clients before 1.25.
	MaxRequest int64

	// HandshakeTimeout limits the duration of the handshake. 0 means 30 seconds, a negative
	// value no limit.
	HandshakeTimeout time.Duration

	// StallTimeout limits how long a client may send nothing within a request or an upload, or
	// read nothing that is written to it. 0 means ten minutes, a negative value no limit.
	StallTimeout time.Duration

	// IdleTimeout limits how long a client may be silent between requests. 0 and negative
	// values mean no limit.
	IdleTimeout time.Duration
}

// withDefaults returns a copy with the defaults in place of zero values.
func (o *Options) withDefaults() Options {
	var full Options
	if o != nil {
		full = *o
	}
	if full.Version == 0 {
		full.Version = protocol.MaxVersion
	}
	if full.NixVersion == "" {
		full.NixVersion = NixVersion
	}
	if full.MaxRequest <= 0 {
		full.MaxRequest = 64 << 20
	}
	if full.HandshakeTimeout == 0 {
		full.HandshakeTimeout = 30 * time.Second
	}
	if full.StallTimeout == 0 {
		full.StallTimeout = 10 * time.Minute
	}
	return full
}

// features returns the features to offer. Those for builds need a store with the capability. If
// the store belongs to another daemon, that daemon must have every feature.
func (c *conn) features() protocol.Features {
	f := c.opts.BuildFeatures & (protocol.BuildFeatures | protocol.RealisationWithPath)
	if _, ok := store.As[store.ScanningAdder](c.store); !ok {
		f &^= protocol.Scanning
	}
	if _, ok := store.As[store.OutputSubmitter](c.store); !ok {
		f &^= protocol.OutputSubmission
	}
	if !c.opts.NoFeatures {
		f |= protocol.AllFeatures
	}
	if _, ok := store.As[store.ActiveBuildQuerier](c.store); !ok {
		f &^= protocol.ActiveBuilds
	}
	if c.upstream != nil {
		f &= c.upstream.Features()
	}
	return f
}

// settingsKey is the key of a connection's settings in the context of its operations.
type settingsKey struct{}

// A settingsHolder holds the settings that the client of a connection has sent last.
type settingsHolder struct {
	current atomic.Pointer[protocol.SetOptionsRequest]
}

// SettingsOf returns the settings of the client that caused the call with this context, or nil
// if it has sent none. They contain only what the client may set. The caller must not modify
// them.
func SettingsOf(ctx context.Context) *protocol.SetOptionsRequest {
	h, ok := ctx.Value(settingsKey{}).(*settingsHolder)
	if !ok {
		return nil
	}
	return h.current.Load()
}

// peerKey is the key of the process at the other end of a connection in the context of its operations.
type peerKey struct{}

// ClientOf returns the process at the other end of the connection that caused the call with this context, or nil if it
// is unknown or there is no connection.
func ClientOf(ctx context.Context) *Peer {
	peer, _ := ctx.Value(peerKey{}).(*Peer)
	return peer
}

// maxUnrestricted is the largest length in bytes of a setting that every client may set. Such
// settings are numbers. The connection keeps the values until it ends.
const maxUnrestricted = 64

// ignoredSettings are settings that many clients send, but that a server never takes from a
// client.
var ignoredSettings = map[string]bool{"ssh-auth-sock": true, "experimental-features": true, "plugin-files": true}

// maxSettings limits the length of the settings of a connection: names and values, in bytes.
// They are kept as long as the connection, and no budget counts them.
const maxSettings = 64 << 10

func settingsSize(settings map[string]string) (n int) {
	for name, value := range settings {
		n += len(name) + len(value)
	}
	return n
}

// setOptions stores the settings that the client may set, and warns of the others. If the store
// belongs to another daemon, it also sends them there. That daemon warns of invalid values
// itself.
func (c *conn) setOptions(ctx context.Context, req *protocol.SetOptionsRequest) (*protocol.None, error) {
	kept := *req
	kept.Overrides = make(map[string]string, len(req.Overrides))
	for _, name := range sortedKeys(req.Overrides) {
		value := req.Overrides[name]
		switch s := nixconf.Find(name); {
		case ignoredSettings[name]:
		case c.privileged || c.isUnrestricted(name, value):
			if err := checkSetting(s, value); err != nil && c.upstream == nil {
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
	if n := settingsSize(kept.Overrides); n > maxSettings {
		return nil, fmt.Errorf("the settings have %d bytes, more than the limit of %d", n, maxSettings)
	}
	c.settings.current.Store(&kept)
	if c.upstream != nil {
		return new(protocol.None), c.upstream.SetOptions(ctx, &kept)
	}
	return new(protocol.None), nil
}

// checkSetting returns an error if a value is invalid. An unknown setting accepts every value.
func checkSetting(s *nixconf.Setting, value string) error {
	if s == nil {
		return nil
	}
	return s.Check(value)
}

// allowedSubstituters returns the given substituters that an untrusted client may choose, and
// warns of the others. A missing slash at the end makes no difference. If one is not a store
// URI, ok is false.
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

// A truster is a store that knows whether it is trusted, such as a connection to a daemon.
type truster interface{ Trust() protocol.Trust }

// trustOf returns the trust level of a client. It is trusted only if this server trusts it and
// the store, if it is a truster, trusts this process.
func trustOf(trusted bool, s store.Store) protocol.Trust {
	if !trusted {
		return protocol.NotTrusted
	}
	if t, ok := store.As[truster](s); ok {
		return t.Trust()
	}
	return protocol.Trusted
}
