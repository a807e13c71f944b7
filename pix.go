// Package pix is the Nix store for Go.
//
// It is a library of small packages, each of them one concept of Nix. A package imports
// only those above it in this list, which is also the order in which to read them:
//
//   - [pix/nixbase32]: Nix's base-32 alphabet and its reversed bit order;
//   - [pix/nixhash]: digests and their spellings;
//   - [pix/storepath]: store directories, store paths, content addresses, fingerprints;
//   - [pix/wire]: the primitives that archives and protocol share;
//   - [pix/nar]: the archive format;
//   - [pix/derivation]: .drv files, the hashes and paths that follow from them;
//   - [pix/signature]: keys, signing, verifying;
//   - [pix/activity]: what a daemon tells while it works, and its errors;
//   - [pix/store]: what a store is;
//   - [pix/narinfo]: .narinfo files;
//   - [pix/protocol]: the worker protocol;
//   - [pix/daemon]: the client of a Nix daemon;
//   - [pix/server]: serving any store over the protocol;
//   - [pix/store/memstore] and [pix/daemontest]: a store in memory, and a daemon for tests;
//   - [pix/binarycache]: binary caches;
//   - [pix/pixpkgs]: packages declared in Go.
//
// This package has [Open], which finds a store by its URI. The command
// is in pix/cmd/pix.
package pix

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"pix/binarycache"
	"pix/daemon"
	"pix/store"
	"pix/storepath"
)

// Options says how to open a store. Nil and the zero values are useful.
type Options struct {
	// StoreDir is the store directory; "" is [storepath.DefaultDir].
	StoreDir storepath.Dir

	// DaemonSocket is where the daemon of this machine listens, for the URIs that do
	// not say it; "" is [daemon.DefaultSocket].
	DaemonSocket string

	// SSHOptions are arguments for ssh, before all others, as NIX_SSHOPTS is for Nix.
	SSHOptions []string

	// Daemon has what else a connection to a daemon can be told. Its StoreDir is
	// overruled by the one above.
	Daemon *daemon.Options

	// Cache has what else a binary cache can be told. Its StoreDir is overruled by the one
	// above.
	Cache *binarycache.Options
}

// A URIError says that a store URI cannot be opened. It is [errors.ErrUnsupported] if Nix
// would know the URI.
type URIError struct {
	URI    string
	Reason string
	known  bool
}

func (e *URIError) Error() string { return fmt.Sprintf("store '%s': %s", e.URI, e.Reason) }

// Is reports whether target is [errors.ErrUnsupported], and Nix would know the URI.
func (e *URIError) Is(target error) bool { return e.known && target == errors.ErrUnsupported }

// Open opens the store that uri names:
//
//	"", "auto", "daemon"                  the daemon of this machine
//	"unix://PATH"                         the daemon whose socket is at PATH
//	"ssh-ng://[USER@]HOST[:PORT][?…]"     the daemon of another machine, by OpenSSH:
//	                                      see [daemon.ParseSSH] for the parameters
//	"file://DIR", "http[s]://HOST…"       a binary cache: see [binarycache.Open]
//
// The store is a [*daemon.Pool], or a [*binarycache.Store]. The error is a [*URIError] for
// any other URI, a [*daemon.DialError] if no daemon answers, and a
// [*binarycache.RequestError] if no cache does.
func Open(ctx context.Context, uri string, opts *Options) (store.Store, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if scheme, _, ok := strings.Cut(uri, "://"); ok && (scheme == "file" || scheme == "http" || scheme == "https") {
		return o.openCache(ctx, uri)
	}
	t, err := o.transport(uri)
	if err != nil {
		return nil, err
	}
	var d daemon.Options
	if o.Daemon != nil {
		d = *o.Daemon
	}
	d.StoreDir = o.StoreDir
	pool, err := daemon.Open(ctx, t, &d)
	if err != nil {
		return nil, err
	}
	return pool, nil
}

// openCache opens a binary cache.
func (o *Options) openCache(ctx context.Context, uri string) (store.Store, error) {
	var c binarycache.Options
	if o.Cache != nil {
		c = *o.Cache
	}
	c.StoreDir = o.StoreDir
	s, err := binarycache.Open(ctx, uri, &c)
	if bad, ok := errors.AsType[*binarycache.URIError](err); ok {
		return nil, &URIError{bad.URI, bad.Reason, false}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

const expected = "expected auto, daemon, unix://PATH, ssh-ng://HOST, file://DIR or https://HOST"

// transport returns the way to the daemon that uri names.
func (o *Options) transport(uri string) (daemon.Transport, error) {
	switch uri {
	case "", "auto", "daemon", "unix://":
		return daemon.Unix{Path: o.DaemonSocket}, nil
	case "local":
		return nil, &URIError{uri, "the store of this machine is opened through its daemon alone; use daemon or unix://PATH", true}
	}
	scheme, rest, ok := strings.Cut(uri, "://")
	switch {
	case !ok:
		return nil, &URIError{uri, "no store URI; " + expected, false}
	case scheme == "unix":
		return unixSocket(uri, rest)
	case scheme == "ssh-ng":
		ssh, err := daemon.ParseSSH(uri)
		if err != nil {
			return nil, &URIError{uri, err.Error(), false}
		}
		ssh.Options = o.SSHOptions
		return ssh, nil
	}
	return nil, &URIError{uri, fmt.Sprintf("the scheme %s:// is not supported; %s", scheme, expected), false}
}

// unixSocket returns the socket that the rest of uri, after its scheme, names.
func unixSocket(uri, rest string) (daemon.Transport, error) {
	path, query, _ := strings.Cut(rest, "?")
	if query != "" {
		return nil, &URIError{uri, "parameters are not supported; the store directory is an option of its own", true}
	}
	path, err := url.PathUnescape(path)
	if err != nil {
		return nil, &URIError{uri, err.Error(), false}
	}
	if !strings.HasPrefix(path, "/") {
		return nil, &URIError{uri, "the path of the socket is not absolute", false}
	}
	return daemon.Unix{Path: path}, nil
}
