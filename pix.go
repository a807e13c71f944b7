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
//   - [pix/closure]: sizes, reasons, differences and pictures of closures;
//   - [pix/narinfo]: .narinfo files;
//   - [pix/protocol]: the worker protocol;
//   - [pix/daemon]: the client of a Nix daemon;
//   - [pix/nixconf]: nix.conf;
//   - [pix/server]: serving any store over the protocol;
//   - [pix/store/memstore] and [pix/daemontest]: a store in memory, and a daemon for tests;
//   - [pix/binarycache]: binary caches;
//   - [pix/localstore]: the embedded store, in a directory;
//   - [pix/substitute]: a store that gets what it lacks from others;
//   - [pix/pixpkgs]: packages declared in Go.
//
// This package has [Open], which finds a store by its URI, or the one that the command would use:
//
//	s, err := pix.Open(ctx, "auto", nil)
//
// The command is in pix/cmd/pix.
package pix

import (
	"context"
	"errors"
	"fmt"
	"os"
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

// Options says how to open a store. The zero values are useful: they know nothing of this machine
// and its user. Nil is what the environment says.
type Options struct {
	// StoreDir is the store directory; "" is [storepath.DefaultDir].
	StoreDir storepath.Dir

	// DaemonSocket is the path of the socket on which the daemon of this machine listens, for
	// the URIs that do not name one. "" is daemon-socket/socket in Local.StateDir, without
	// which it is [daemon.DefaultSocket].
	DaemonSocket string

	// NoDaemon makes auto skip the daemon of this machine. That daemon itself sets it.
	NoDaemon bool

	// SSHOptions are arguments for ssh, before all others, as NIX_SSHOPTS is for Nix.
	SSHOptions []string

	// Daemon has further options of connections to a daemon. StoreDir above replaces its StoreDir.
	Daemon *daemon.Options

	// Cache has further options of binary caches. StoreDir above replaces its StoreDir.
	Cache *binarycache.Options

	// DataDir is the user's directory for data, $XDG_DATA_HOME or ~/.local/share, in which
	// auto opens a store where there is no Nix. "" is none: then auto means the daemon there.
	DataDir string

	// Substituters are the URIs of stores from which a store in a directory gets what it lacks,
	// such as "https://cache.example.org". They are opened when they are first needed. What is not
	// addressed by its contents must be signed by one of Local.TrustedKeys, unless
	// Local.NoSignatures says otherwise.
	Substituters []string

	// Substitution says instead what each call of such a store goes by, for whoever serves it to
	// clients of his own. It takes substituters from the sources, which open them as [Open] does.
	// If it is nil, and there are no Substituters, nothing is substituted.
	Substitution func(ctx context.Context, sources *substitute.Sources) (*substitute.Settings, error)

	// Builds say how a store in a directory builds derivations. If it is nil, and BuildSettings too, the store builds
	// nothing. A program that builds calls [builder.Main] first.
	Builds *Builds

	// BuildSettings returns the settings of one call that builds in a store, for a program that serves the store to
	// clients with their own settings. MaxJobs limits the builds of all calls together.
	BuildSettings func(ctx context.Context, s store.Store) (*realise.Settings, error)
	MaxJobs       int

	// ClosureLimits bound the closures that caches, daemons and substituters tell of: see
	// [store.Limits]. Nil is [derivation.ForeignLimits]. Those of a store in a directory have its own.
	ClosureLimits *store.Limits

	// Local has further options of stores in a directory. Its StateDir and LogDir are for
	// this machine's own store only (NIX_STATE_DIR and NIX_LOG_DIR for Nix). StoreDir above
	// replaces its Dir.
	Local *localstore.Options
}

// A URIError says that a store URI cannot be opened. It is [errors.ErrUnsupported] if Nix can open
// the URI.
type URIError struct {
	URI    string
	Reason string
	known  bool
}

func (e *URIError) Error() string {
	return fmt.Sprintf("store '%s': %s", redact.URL(e.URI), e.Reason)
}

// Is reports whether target is [errors.ErrUnsupported], and Nix can open the URI.
func (e *URIError) Is(target error) bool { return e.known && target == errors.ErrUnsupported }

// Open opens the store that uri names. If opts is nil, it uses the options of the environment
// ([FromEnvironment]), so that "auto" is the store that the command would open.
//
//	"", "auto"                            what [Resolve] finds
//	"daemon"                              the daemon of this machine
//	"unix://PATH"                         the daemon whose socket is at PATH
//	"ssh-ng://[USER@]HOST[:PORT][?…]"     the daemon of another machine, by OpenSSH:
//	                                      see [daemon.ParseSSH] for the parameters
//	"file://DIR", "http[s]://HOST…"       a binary cache: see [binarycache.Open]
//	"local"                               this machine's own store, without a daemon
//	"local?root=DIR", "/DIR", "./DIR"     the store below DIR, which is made if there is none, unless NoCreate is set in Options.Local
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
// Other parameters that Nix has are ignored. An unknown one causes a warning, which goes to the
// handler in ctx.
//
// The store is a [*daemon.Pool], a [*binarycache.Store] or a [*localstore.Store], or a
// [*substitute.Store] that wraps the latter if the options say where to substitute from: see
// [store.As]. The error is a [*URIError] for any other URI, a [*daemon.DialError] if no daemon
// answers, a [*binarycache.RequestError] if no cache does, or an error of [localstore.Open].
func Open(ctx context.Context, uri string, opts *Options) (store.Store, error) {
	opts, err := opts.orEnvironment()
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
	return ok && (scheme == "file" || scheme == "http" || scheme == "https")
}

// limited returns s with the limits of the options, if there are any. They do not hold for a store in a
// directory, which is not another's.
func (o *Options) limited(s store.Store, err error) (store.Store, error) {
	if err != nil || o.ClosureLimits == nil {
		return s, err
	}
	return store.WithLimits(s, *o.ClosureLimits), nil
}

// orEnvironment returns o, or the options of the environment if o is nil.
func (o *Options) orEnvironment() (*Options, error) {
	if o != nil {
		return o, nil
	}
	return FromEnvironment(os.Getenv)
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
	s, err := binarycache.Open(ctx, uri, &c)
	if bad, ok := errors.AsType[*binarycache.URIError](err); ok {
		return nil, &URIError{bad.URI, bad.Reason, false}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

const expected = "expected auto, daemon, local, /DIR, ./DIR, unix://PATH, ssh-ng://HOST, file://DIR or https://HOST"
