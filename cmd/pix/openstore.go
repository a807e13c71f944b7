package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"pix"
	"pix/activity"
	"pix/binarycache"
	"pix/binarycache/s3"
	"pix/daemon"
	"pix/localstore"
	"pix/nixconf"
	"pix/store"
	"pix/storepath"
)

// dir returns the store directory that the flags and the environment name.
func (a *app) dir() (storepath.Dir, error) {
	s := cmp.Or(a.flags.storeDir, a.getenv("NIX_STORE_DIR"))
	if s == "" {
		return storepath.DefaultDir, nil
	}
	dir, err := storepath.ParseDir(filepath.Clean(s))
	if err != nil {
		return "", &usageError{fmt.Errorf("store directory: %w", err)}
	}
	return dir, nil
}

// A storeAccess says what a verb does with a store in a directory. Only verbs that add paths create a missing
// store, so a mistyped directory is an error in all other verbs.
type storeAccess uint8

const (
	toRead   storeAccess = iota // write nothing
	toChange                    // change an existing store
	toCreate                    // change the store, and create it if it does not exist
)

// A servingMode says whether a store is opened for clients of 'pix daemon'. Such clients have settings of their
// own.
type servingMode uint8

const (
	notServing     servingMode = iota
	servingStdio               // for the one client on the standard streams
	servingSockets             // as the daemon of this machine, which must not connect to itself
)

// openOptions says which store a verb opens, and how.
type openOptions struct {
	uri      string // "" for the store that the flags and the environment name
	access   storeAccess
	serving  servingMode
	building bool // the verb builds, so a daemon gets the settings of the user
	waited   bool // a user or a client waits for queries, so a cache that cannot be reached fails soon

	sameOrigin bool // a cache must not lead to other hosts
}

// A storeChoice is the store that [app.choose] found.
type storeChoice struct {
	uri    string
	reason string // why this store was chosen; "" if the user named it

	open    openOptions
	options *pix.Options
}

// open opens the store that the flags and the environment name.
func (a *app) open(ctx context.Context, access storeAccess) (store.Store, error) {
	return a.openWith(ctx, openOptions{access: access, waited: access == toRead})
}

// openWith opens a store.
func (a *app) openWith(ctx context.Context, o openOptions) (store.Store, error) {
	choice, err := a.choose(o)
	if err != nil {
		return nil, err
	}
	return a.openChosen(ctx, choice)
}

// choose finds the store that the options, the flags and the environment name, without opening it.
func (a *app) choose(o openOptions) (*storeChoice, error) {
	opts, err := a.storeOptions()
	if err != nil {
		return nil, err
	}
	trace, err := a.trace.open()
	if err != nil {
		return nil, err
	}
	opts.NoDaemon = o.serving == servingSockets
	opts.Daemon = &daemon.Options{Trace: trace, TraceBody: a.trace.bodyLimit()}
	if o.building || len(a.flags.options) > 0 && o.serving == notServing {
		if opts.Daemon.Settings, err = a.sentSettings(); err != nil {
			return nil, err
		}
	}
	uri, err := a.storeURI(o)
	if err != nil {
		return nil, err
	}
	c := &storeChoice{open: o, options: opts}
	c.uri, c.reason = pix.Resolve(uri, opts)
	return c, nil
}

// storeOptions returns the options of stores that the flags and the environment give.
func (a *app) storeOptions() (*pix.Options, error) {
	opts, err := pix.FromEnvironment(func(name string) string {
		if name == "NIX_STORE_DIR" && a.flags.storeDir != "" {
			return a.flags.storeDir
		}
		return a.getenv(name)
	})
	if err != nil {
		return nil, &usageError{err}
	}
	opts.S3 = openBucket
	return opts, nil
}

// openBucket opens a cache in S3. Its warnings are about this machine, such as missing credentials. Nix does not print them,
// so they begin with "pix: ".
func openBucket(ctx context.Context, uri string, opts *binarycache.Options) (*binarycache.Store, error) {
	if next := activity.HandlerOf(ctx); next != nil {
		ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
			if log, ok := e.(activity.Log); ok && strings.HasPrefix(log.Text, "warning: ") {
				log.Text = "pix: " + log.Text
				e = log
			}
			next.HandleEvent(e)
		}))
	}
	return s3.Open(ctx, uri, opts)
}

// storeURI returns the URI of the store to open, or "" if nothing names one. The setting store = daemon is for
// clients, so the daemon itself ignores it.
func (a *app) storeURI(o openOptions) (string, error) {
	if uri := cmp.Or(o.uri, a.flags.storeURI, a.getenv("PIX_STORE")); uri != "" {
		return uri, nil
	}
	conf, err := a.configuration()
	if err != nil {
		return "", err
	}
	r := conf.Reader()
	uri := r.Text("store")
	if err := r.Err(); err != nil {
		return "", &usageError{err}
	}
	if o.serving == servingSockets && uri == "daemon" {
		uri = ""
	}
	return uri, nil
}

// openChosen opens the store that choose found. Its errors add advice for users who have no store yet.
func (a *app) openChosen(ctx context.Context, c *storeChoice) (store.Store, error) {
	s, err := a.openByKind(a.withWarnings(ctx), c)
	if errors.As(err, new(*localstore.NoStoreError)) && c.reason != "" {
		err = fmt.Errorf("%w (this store was chosen since %s)", err, c.reason)
	}
	if err != nil && c.reason != "" && c.options.DataDir == "" && ctx.Err() == nil {
		err = fmt.Errorf("%w; pix has no store of its own without HOME or XDG_DATA_HOME: set one of them, or name a store with --store", err)
	}
	return s, err
}

// withWarnings returns a context in which warnings about opening a store are printed.
func (a *app) withWarnings(ctx context.Context) context.Context {
	if mode, err := a.progressMode(); err != nil || mode == progressNone || activity.HandlerOf(ctx) != nil {
		return ctx
	}
	return activity.WithHandler(ctx, &logPrinter{app: a})
}

// openByKind opens a store in a directory, a binary cache or the store of a daemon.
func (a *app) openByKind(ctx context.Context, c *storeChoice) (store.Store, error) {
	if pix.IsLocal(c.uri) {
		return a.openLocal(ctx, c)
	}
	if strings.HasPrefix(c.uri, "http") || strings.HasPrefix(c.uri, "s3://") {
		a.warnOfConfiguration()
		var err error
		if c.options.Cache, err = a.cacheOptions(c.open.serving); err != nil {
			return nil, err
		}
		c.options.Cache.Create = c.open.access == toCreate
		c.options.Cache.HTTP.SameOrigin = c.open.sameOrigin
		if c.open.waited && a.isDefault("download-attempts") {
			c.options.Cache.HTTP.ConnectTries = 2
		}
	}
	s, err := pix.Open(ctx, c.uri, c.options)
	var dial *daemon.DialError
	if errors.As(err, &dial) && strings.HasPrefix(dial.Addr, "/") && (c.reason == "" || c.options.DataDir != "") && ctx.Err() == nil {
		return nil, adviseOnSocket(err)
	}
	return s, err
}

// isDefault reports whether a setting has its default value, because neither a file nor the environment nor a flag sets it.
func (a *app) isDefault(name string) bool {
	conf, err := a.configuration()
	return err != nil || conf.Get(name).Origin.Source == nixconf.FromDefault
}

// adviseOnSocket adds to an error of connecting to a daemon's socket what the user can do.
func adviseOnSocket(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; this user may not open the socket", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w; does a Nix daemon listen there? name another socket with --store unix://PATH", err)
	}
	return fmt.Errorf("%w; is a Nix daemon running? name its socket with --store unix://PATH", err)
}
