// Package pix is the Nix store for Go.
//
// It is a library of small packages, each for one concept of Nix. A package imports only packages above it in this
// list, which is also the order in which to read them:
//
//   - [pix/nixbase32]: Nix's base-32 alphabet and its reversed bit order;
//   - [pix/nixhash]: digests and their text formats;
//   - [pix/storepath]: store directories, store paths, content addresses, fingerprints;
//   - [pix/wire]: the primitives that archives and the protocol share;
//   - [pix/nar]: the archive format;
//   - [pix/derivation]: .drv files, their hashes and output paths;
//   - [pix/signature]: keys, signing, verifying;
//   - [pix/activity]: progress events and errors of a daemon;
//   - [pix/store]: the interface of a store, and what every store has in common;
//   - [pix/closure]: sizes, reasons, differences and pictures of closures;
//   - [pix/profile]: profiles and their generations;
//   - [pix/narinfo]: .narinfo files;
//   - [pix/protocol]: the worker protocol;
//   - [pix/daemon]: the client of a Nix daemon;
//   - [pix/nixconf]: nix.conf;
//   - [pix/server]: serving any store over the protocol;
//   - [pix/store/memstore] and [pix/daemontest]: a store in memory, and a daemon for tests;
//   - [pix/binarycache]: binary caches;
//   - [pix/binarycache/s3]: binary caches in S3;
//   - [pix/cacheserver]: serving stores as a binary cache;
//   - [pix/view]: a page in the browser about a closure;
//   - [pix/localstore]: the embedded store, in a directory;
//   - [pix/substitute]: a store that substitutes missing paths from other stores;
//   - [pix/builder/sandbox]: one process, in namespaces or without;
//   - [pix/builder]: the build of one derivation;
//   - [pix/realise]: a store that builds or substitutes what it lacks;
//   - [pix/pixpkgs]: packages declared in Go.
//
// This package has [Open], which opens a store by its URI, or the store that the command would use:
//
//	s, err := pix.Open(ctx, "auto", nil)
//
// The command is in pix/cmd/pix.
package pix

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pix/binarycache"
	"pix/daemon"
	"pix/internal/redact"
	"pix/localstore"
	"pix/realise"
	"pix/store"
	"pix/storepath"
	"pix/substitute"
)

// Options are the options of [Open]. Nil is the zero value. Fields that are not set come from the environment
// ([FromEnvironment]), unless NoEnvironment is set.
type Options struct {
	// NoEnvironment makes the environment irrelevant: fields that are not set have their defaults.
	NoEnvironment bool

	// StoreDir is the store directory; "" is [storepath.DefaultDir].
	StoreDir storepath.Dir

	// DaemonSocket is the socket of the daemon of this machine, for URIs that do not name a socket. "" is
	// daemon-socket/socket in Local.StateDir, or [daemon.DefaultSocket] if that is not set.
	DaemonSocket string

	// NoDaemon makes auto ignore the daemon of this machine. The daemon itself needs it.
	NoDaemon bool

	// SSHOptions are the first arguments of ssh, as in Nix's NIX_SSHOPTS.
	SSHOptions []string

	// Daemon has further options of connections to a daemon. StoreDir above replaces its StoreDir.
	Daemon *daemon.Options

	// Cache has further options of binary caches. StoreDir above replaces its StoreDir.
	Cache *binarycache.Options

	// S3 opens caches at s3://BUCKET. Set it to the function Open of [pix/binarycache/s3]. If it is nil, such caches are
	// not supported, so that programs that need none do not contain AWS's modules.
	S3 func(ctx context.Context, uri string, opts *binarycache.Options) (*binarycache.Store, error)

	// DataDir is the data directory of the user, $XDG_DATA_HOME or ~/.local/share. On a machine without Nix, auto
	// opens a store in it. With "", auto means the daemon on such a machine, too.
	DataDir string

	// Substituters are the URIs of stores from which a store in a directory substitutes missing paths, such as
	// "https://cache.example.org". They are opened on first use. A path that is not content-addressed must be
	// signed by one of Local.TrustedKeys, unless Local.NoSignatures is set.
	Substituters []string

	// Substitution returns the settings for each call of such a store, and replaces Substituters. A server uses it,
	// because its clients have settings of their own. It gets substituters from the sources, which open them like
	// [Open]. If it is nil and there are no Substituters, nothing is substituted.
	Substitution func(ctx context.Context, sources *substitute.Sources) (*substitute.Settings, error)

	// Builds say how a store in a directory builds derivations. If it is nil, and BuildSettings too, the store builds
	// nothing. A program that builds calls [sandbox.Main] first.
	Builds *Builds

	// BuildSettings returns the settings of one call that builds in a store, for a program that serves the store to
	// clients with their own settings. MaxJobs limits the builds of all calls together.
	BuildSettings func(ctx context.Context, s store.Store) (*realise.Settings, error)
	MaxJobs       int

	// ClosureLimits are the limits for closures that caches, daemons and substituters report: see [store.Limits].
	// Nil is [derivation.ForeignLimits]. A store in a directory has its own limits.
	ClosureLimits *store.Limits

	// Local has further options of stores in a directory. Its StateDir and LogDir apply only to the store of this
	// machine (Nix's NIX_STATE_DIR and NIX_LOG_DIR). StoreDir above replaces its Dir.
	Local *localstore.Options
}

// A URIError says that a store URI is invalid or not supported. It is [errors.ErrUnsupported] if Nix supports the
// URI.
type URIError struct {
	URI    string
	Reason string
	known  bool // Nix supports the URI
}

func (e *URIError) Error() string {
	return fmt.Sprintf("store '%s': %s", redact.URL(e.URI), e.Reason)
}

// Is reports whether target is [errors.ErrUnsupported] and Nix supports the URI.
func (e *URIError) Is(target error) bool { return e.known && target == errors.ErrUnsupported }

// Open opens the store that uri names. Options that are not set come from the environment, so that "auto" is the
// store that the command would open. Nil opts are the same as &Options{}.
//
//	"", "auto"                            the store that [Resolve] finds
//	"daemon"                              the daemon of this machine
//	"unix://PATH"                         the daemon whose socket is at PATH
//	"ssh-ng://[USER@]HOST[:PORT][?…]"     the daemon of another machine, over OpenSSH:
//	                                      see [daemon.ParseSSH] for the parameters
//	"file://DIR", "http[s]://HOST…"       a binary cache: see [binarycache.Open]
//	"s3://BUCKET[/PREFIX][?…]"            a binary cache in S3, if Options.S3 is set
//	"local"                               the store of this machine, without a daemon
//	"local?root=DIR", "/DIR", "./DIR"     the store below DIR, which is created if it does not exist,
//	                                      unless Options.Local.NoCreate is set
//
// The URIs of daemons and of stores in a directory accept Nix's parameters:
//
//   - store, the store directory;
//   - for a store in a directory: root, state, log and real, the directories of the store and of its
//     state, logs and objects; read-only; require-sigs; and pix's own rules, 2.34 or 2.36:
//     see [store.Rules];
//   - for a daemon: max-connections; and root or state, which select the daemon of that store on this
//     machine: see [SocketPath].
//
// Other parameters of Nix are ignored. An unknown parameter causes a warning to the handler in ctx.
//
// The store is a [*daemon.Pool], a [*binarycache.Store] or a [*localstore.Store], or a [*substitute.Store] that
// wraps the latter if it substitutes: see [store.As]. The error is a [*URIError] for any other URI, a
// [*daemon.DialError] if the daemon does not answer, a [*binarycache.RequestError] if the cache does not answer, or
// an error of [localstore.Open].
func Open(ctx context.Context, uri string, opts *Options) (store.Store, error) {
	opts, err := opts.withEnvironment()
	if err != nil {
		return nil, err
	}
	o := *opts
	uri, _ = Resolve(uri, &o)
	if isCache(uri) {
		s, err := o.openCache(ctx, uri)
		return o.limited(s, err)
	}
	u, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	if err := u.takeStoreDir(&o.StoreDir); err != nil {
		return nil, err
	}
	if IsLocal(uri) {
		return o.openLocal(ctx, u)
	}
	s, err := o.openDaemon(ctx, u)
	return o.limited(s, err)
}

// isCache reports whether a URI names a binary cache.
func isCache(uri string) bool {
	scheme, _, ok := strings.Cut(uri, "://")
	return ok && (scheme == "file" || scheme == "http" || scheme == "https" || scheme == "s3")
}

// limited returns s with the ClosureLimits of the options. It is not used for a store in a directory, whose infos
// are trusted.
func (o *Options) limited(s store.Store, err error) (store.Store, error) {
	if err != nil || o.ClosureLimits == nil {
		return s, err
	}
	return store.WithLimits(s, *o.ClosureLimits), nil
}

// openDaemon opens the store of a daemon.
func (o *Options) openDaemon(ctx context.Context, u *storeURI) (store.Store, error) {
	t, err := u.transport(o)
	if err != nil {
		return nil, err
	}
	var d daemon.Options
	if o.Daemon != nil {
		d = *o.Daemon
	}
	d.StoreDir = o.StoreDir
	if err := u.takeMaxConns(&d.MaxConns); err != nil {
		return nil, err
	}
	u.warnUnknown(ctx, acceptedOther)
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
	open := binarycache.Open
	if strings.HasPrefix(uri, "s3://") {
		if open = o.S3; open == nil {
			return nil, &URIError{uri, "the scheme s3:// is not supported by this program, whose Options.S3 is not set", true}
		}
	}
	s, err := open(ctx, uri, &c)
	if bad, ok := errors.AsType[*binarycache.URIError](err); ok {
		return nil, &URIError{bad.URI, bad.Reason, false}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

const expected = "expected auto, daemon, local, /DIR, ./DIR, unix://PATH, ssh-ng://HOST, file://DIR, https://HOST or s3://BUCKET"
