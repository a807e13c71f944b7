package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pix"
	"pix/activity"
	"pix/daemon"
	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// dir returns the store directory.
func (a *app) dir() (storepath.Dir, error) {
	s := cmp.Or(a.storeDir, a.getenv("NIX_STORE_DIR"))
	if s == "" {
		return storepath.DefaultDir, nil
	}
	dir, err := storepath.ParseDir(filepath.Clean(s))
	if err != nil {
		return "", &usageError{fmt.Errorf("store directory: %w", err)}
	}
	return dir, nil
}

// options returns what the flags and the environment say of stores.
func (a *app) options() (*pix.Options, error) {
	opts, err := pix.FromEnvironment(func(name string) string {
		if name == "NIX_STORE_DIR" && a.storeDir != "" {
			return a.storeDir
		}
		return a.getenv(name)
	})
	if err != nil {
		return nil, &usageError{err}
	}
	return opts, nil
}

// A storeAccess says what a verb does with a store in a directory. Only verbs that add make a store that does
// not exist: a mistyped name is then an error, and not an empty store.
type storeAccess uint8

const (
	toRead   storeAccess = iota // writes nothing
	toChange                    // changes an existing store
	toCreate                    // makes the store if it does not exist
)

// open opens the store that the flags and the environment name.
func (a *app) open(ctx context.Context, access storeAccess) (store.Store, error) {
	opts, err := a.options()
	if err != nil {
		return nil, err
	}
	if err := a.startTrace(); err != nil {
		return nil, err
	}
	opts.NoDaemon = a.isDaemon
	opts.Daemon = &daemon.Options{Trace: a.trace, TraceBody: a.traceBody(), Settings: a.settings}
	uri, err := a.uri()
	if err != nil {
		return nil, err
	}
	uri, reason := pix.Resolve(uri, opts)
	a.resolved, a.reason = uri, reason
	s, err := a.openURI(a.withWarnings(ctx), uri, access, opts)
	if errors.As(err, new(*localstore.NoStoreError)) && reason != "" {
		err = fmt.Errorf("%w (this store was chosen since %s)", err, reason)
	}
	if err != nil && reason != "" && opts.DataDir == "" && ctx.Err() == nil {
		err = fmt.Errorf("%w; pix has no store of its own without HOME or XDG_DATA_HOME: set one of them, or name a store with --store", err)
	}
	return s, err
}

// withWarnings returns a context in which the warnings of opening a store are printed.
func (a *app) withWarnings(ctx context.Context) context.Context {
	if mode, err := a.progressMode(); err != nil || mode == progressNone || activity.HandlerOf(ctx) != nil {
		return ctx
	}
	return activity.WithHandler(ctx, &logPrinter{app: a})
}

// openURI opens the store that a URI names.
func (a *app) openURI(ctx context.Context, uri string, access storeAccess, opts *pix.Options) (store.Store, error) {
	if pix.IsLocal(uri) {
		return a.openLocal(ctx, uri, access, opts)
	}
	if strings.HasPrefix(uri, "http") {
		a.warnOfConfiguration()
		var err error
		if opts.Cache, err = a.cacheOptions(); err != nil {
			return nil, err
		}
	}
	s, err := pix.Open(ctx, uri, opts)
	var dial *daemon.DialError
	if errors.As(err, &dial) && strings.HasPrefix(dial.Addr, "/") && (a.reason == "" || opts.DataDir != "") && ctx.Err() == nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("%w; this user may not open the socket", err)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("%w; does a Nix daemon listen there? name another socket with --store unix://PATH", err)
		}
		return nil, fmt.Errorf("%w; is a Nix daemon running? name its socket with --store unix://PATH", err)
	}
	return s, err
}

// uri returns the URI of the store that is asked for, or "". That clients shall use the daemon
// does not mean the daemon.
func (a *app) uri() (string, error) {
	if uri := cmp.Or(a.storeURI, a.getenv("PIX_STORE")); uri != "" {
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
	if a.isDaemon && uri == "daemon" {
		uri = ""
	}
	return uri, nil
}

// startTrace opens the file of --trace, once. What daemons say may be secret, so it is for
// nobody else to read.
func (a *app) startTrace() error {
	if a.traceBodies && a.traceFile == "" {
		return &usageError{errors.New("--trace-bodies is about the file of --trace, and there is none")}
	}
	if a.traceFile == "" || a.trace != nil {
		return nil
	}
	f, err := os.OpenFile(a.traceFile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return &usageError{fmt.Errorf("--trace: %w", err)}
	}
	a.trace = f // open until the process ends
	return nil
}

// traceBody returns how many bytes of a body a trace shows: all of them, or as many as usual.
func (a *app) traceBody() int {
	if a.traceBodies {
		return -1
	}
	return 0
}

// paths parses store paths given as arguments, or symlinks to them.
func (a *app) paths(args []string) ([]storepath.Path, error) {
	dir, err := a.dir()
	if err != nil {
		return nil, err
	}
	paths := make([]storepath.Path, len(args))
	for i, arg := range args {
		if paths[i], err = dir.Parse(arg); err == nil {
			continue
		}
		var ok bool
		if paths[i], ok = followToStore(dir, arg); !ok {
			return nil, &usageError{noPath(dir, arg, err)}
		}
	}
	return paths, nil
}

// noPath explains err, which says why an argument is no store path: people try names, too.
func noPath(dir storepath.Dir, arg string, err error) error {
	if strings.HasPrefix(arg, "/") {
		return err
	}
	return fmt.Errorf("'%s' is neither a store path, which begins with %s/, nor a symlink to one", arg, dir)
}

// print writes a result.
func (a *app) print(result string) error {
	_, err := io.WriteString(a.stdout, result)
	return err
}
