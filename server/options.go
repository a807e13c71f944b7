package server

import (
	"context"
	"time"

	"pix/protocol"
	"pix/signature"
	"pix/store"
)

// NixVersion is the version that the handshake reports to clients. Clients compare its numbers, so it
// begins with the version of Nix whose behaviour the server has. The name of pix follows.
const NixVersion = "2.34.8-pix"

// Options say how a connection is served. Nil and the zero values are useful.
type Options struct {
	// Trusted says that the client may do whatever the store can. If the store is
	// itself a connection to a daemon (it has a method Trust that returns a
	// protocol.Trust), that must trust us too.
	Trusted bool

	// Substituters are the URIs of those that clients may choose who are not trusted. What they
	// choose, and what those choose who are, is in the overrides of [SettingsOf].
	Substituters []string

	// TrustedKeys returns the keys for the uploads of a trusted client with these settings: one of
	// them must have signed each path. If TrustedKeys is nil, or returns nil, the keys of the store
	// count.
	TrustedKeys func(*protocol.SetOptionsRequest) (signature.KeySet, error)

	// LocalRoots makes this process create the symlinks of permanent roots, with the rights of
	// its user, and register them with the store as indirect roots. It is for a server in front of
	// another daemon on the same machine, which would create them with its own rights.
	LocalRoots bool

	// Version is the newest version to speak; 0 is [protocol.MaxVersion].
	Version protocol.Version

	// NoFeatures makes the server offer none of [protocol.AllFeatures], as Nix up to
	// 2.34 does.
	NoFeatures bool

	// BuildFeatures are the features of [protocol.BuildFeatures] that the server offers in addition,
	// to a client that is a running build. [protocol.Scanning] needs a store that is a [store.ScanningAdder],
	// [protocol.OutputSubmission] one that is a [store.OutputSubmitter]; without it they are not
	// offered. With [protocol.NoSetOptions] the client has no settings.
	BuildFeatures protocol.Features

	// NixVersion is the version that the handshake reports to clients; "" is [NixVersion]. It should
	// begin with the number of a version of Nix.
	NixVersion string

	// Before is called before the work on each request, and may refuse it with an error,
	// which the client is told. Its context is that of the work: there is a handler in it,
	// and the settings. What it takes of time, the client waits.
	Before func(context.Context, protocol.Request) error

	// MaxRequest is how many bytes a request may have; 0 is 64 MiB. The contents of
	// objects do not count, except the texts that clients before 1.25 add.
	MaxRequest int64

	// HandshakeTimeout is how long a client may take until it has introduced itself; 0
	// is 30 seconds, a negative one without limit.
	HandshakeTimeout time.Duration

	// StallTimeout is how long a client may be silent within a request or an upload, or
	// take nothing of what is written to it; 0 is ten minutes, a negative one without
	// limit.
	StallTimeout time.Duration

	// IdleTimeout is how long a client may be silent between requests; 0 and negative
	// ones are without limit.
	IdleTimeout time.Duration
}

// withDefaults returns a copy in which no zero value has a meaning of its own.
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

// features returns the features to offer. The features of builds need a store with these capabilities,
// and the daemon behind the store, if there is one, must have every feature.
func (c *conn) features() protocol.Features {
	f := c.opts.BuildFeatures & protocol.BuildFeatures
	if _, ok := store.As[store.ScanningAdder](c.store); !ok {
		f &^= protocol.Scanning
	}
	if _, ok := store.As[store.OutputSubmitter](c.store); !ok {
		f &^= protocol.OutputSubmission
	}
	if !c.opts.NoFeatures {
		f |= protocol.AllFeatures
	}
	if c.upstream != nil {
		f &= c.upstream.Features()
	}
	return f
}
