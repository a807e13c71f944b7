package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"pix/derivation"
	"pix/internal/buildlogs"
	"pix/internal/redact"
	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// logOptions are the flags of log.
type logOptions struct{ follow bool }

func newLog(a *app) *cobra.Command {
	var stdin bool
	var o logOptions
	cmd := &cobra.Command{
		Use:   "log PATH...",
		Short: "Print build logs",
		Long: `Print the build log of each path, which is a derivation or an output of one. Binary caches and
stores in a directory have logs. The protocol of daemons has none, so the logs of the daemon of this
machine are read from $NIX_LOG_DIR, by default /nix/var/log/nix. Logs that are missing there are
fetched from the substituters. With --follow the log of a running build is printed until the build
ends; Nix writes it in compressed blocks, so its text may arrive late.

On a terminal, control characters other than colours are left out. Elsewhere logs are unchanged,
but without colours if NO_COLOR is set or with --color never. The exit code is 1 if there is no log.`,
		Example:           "  pix log /nix/store/...-hello\n  pix log --follow /nix/store/...-hello.drv",
		ValidArgsFunction: a.completePaths,
		GroupID:           groupStore,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			names, err := a.names(args)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				built, err := derivedPathsOf(ctx, s, names)
				if err != nil {
					return err
				}
				for _, p := range built {
					if err := a.printLog(ctx, s, p, o); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "print the log of a running build until it ends")
	addStdinFlag(cmd, &stdin)
	return cmd
}

// printLog prints the build log of an installable.
func (a *app) printLog(ctx context.Context, s store.Store, built derivation.DerivedPath, o logOptions) error {
	drv, err := derivationOf(ctx, s, built)
	if err != nil {
		return err
	}
	log, err := a.openLog(ctx, s, drv, o)
	if err != nil {
		return err
	}
	defer log.Close()
	return orInterrupted(ctx, func() error { return a.copyLog(log) })
}

// openLog opens the build log of a derivation: from the store, from the log directory of this machine, or from a
// substituter.
func (a *app) openLog(ctx context.Context, s store.Store, drv storepath.Path, o logOptions) (io.ReadCloser, error) {
	dir, err := a.logDir(ctx, s)
	if err != nil {
		return nil, err
	}
	if dir == "" && !o.follow {
		return a.openRemoteLog(ctx, s, drv)
	}
	var log *buildlogs.Log
	switch {
	case dir == "":
		return nil, fmt.Errorf("the log of a build on another machine cannot be followed")
	case o.follow:
		log, err = buildlogs.Follow(ctx, dir, drv, func(ctx context.Context) (bool, error) { return isBuilding(ctx, s, drv) })
	default:
		log, err = buildlogs.Open(dir, drv)
	}
	if errors.Is(err, fs.ErrNotExist) {
		log, err := a.openSubstituterLog(ctx, drv)
		if log == nil && err == nil {
			err = fmt.Errorf("there is no log of '%s' in %s or in a substituter: it was not built on this machine, or its log is elsewhere (NIX_LOG_DIR)", drv, dir)
		}
		return log, err
	}
	if err != nil {
		return nil, err
	}
	return log, nil
}

// logDir returns the log directory of a store on this machine, or "".
func (a *app) logDir(ctx context.Context, s store.Store) (string, error) {
	if local, ok := store.As[*localstore.Store](s); ok {
		return local.Info().LogDir, nil
	}
	if _, ok := store.As[store.LogReader](s); ok {
		return "", nil
	}
	if err := onThisMachine(ctx, s, "the protocol has no build logs"); err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		return "", nil
	}
	return a.nixLogDir(), nil
}

// nixLogDir returns the log directory of the daemon of this machine.
func (a *app) nixLogDir() string { return cmp.Or(a.getenv("NIX_LOG_DIR"), "/nix/var/log/nix") }

// openRemoteLog opens a log of a binary cache, or of a substituter if the store is a daemon of another machine.
func (a *app) openRemoteLog(ctx context.Context, s store.Store, drv storepath.Path) (io.ReadCloser, error) {
	if r, ok := store.As[store.LogReader](s); ok {
		log, err := r.BuildLog(ctx, drv)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("there is no log of '%s' in the store", drv)
		}
		return log, err
	}
	log, err := a.openSubstituterLog(ctx, drv)
	if log == nil && err == nil {
		err = onThisMachine(ctx, s, "the protocol has no build logs")
	}
	return log, err
}

// openSubstituterLog opens the log of a derivation in the first substituter of the configuration that has it, or returns
// nil. A substituter that does not answer is a warning.
func (a *app) openSubstituterLog(ctx context.Context, drv storepath.Path) (io.ReadCloser, error) {
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	r := conf.Reader()
	uris := r.Words("substituters")
	if !r.Bool("substitute") {
		uris = nil
	}
	if err := r.Err(); err != nil {
		return nil, &usageError{err}
	}
	for _, uri := range uris {
		log, err := a.openLogOf(ctx, uri, drv)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			return log, nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			a.warn(fmt.Sprintf("asking '%s' for a log: %s", redact.URL(uri), errorText(err)))
		}
	}
	return nil, nil
}

// openLogOf opens a log of a substituter, which closing the log closes.
func (a *app) openLogOf(ctx context.Context, uri string, drv storepath.Path) (io.ReadCloser, error) {
	s, err := a.openWith(ctx, openOptions{uri: uri, access: toRead})
	if err != nil {
		return nil, err
	}
	r, ok := store.As[store.LogReader](s)
	if !ok {
		return nil, errors.Join(&store.NotFoundError{Path: drv}, s.Close())
	}
	log, err := r.BuildLog(ctx, drv)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &storeLog{log, s}, nil
}

// A storeLog is an open log of a store.
type storeLog struct {
	io.ReadCloser
	store store.Store
}

// Close closes the log and the store.
func (l *storeLog) Close() error { return errors.Join(l.ReadCloser.Close(), l.store.Close()) }

// isBuilding reports whether a process of this machine builds a derivation in the store: one that lists it as a running
// build, or one that holds the locks of its outputs, as every Nix does.
func isBuilding(ctx context.Context, s store.Store, drv storepath.Path) (bool, error) {
	builds, err := store.QueryActiveBuilds(ctx, s)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return false, err
	}
	if slices.ContainsFunc(builds, func(b store.ActiveBuild) bool { return b.Derivation == drv }) {
		return true, nil
	}
	outputs, err := store.OutputMap(ctx, s, drv)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	dir := string(s.Dir())
	if local, ok := store.As[*localstore.Store](s); ok {
		dir = local.Info().StoreDir
	}
	var locks []string
	for name, path := range outputs {
		base := drv.Base() + "." + name // for an output whose path depends on its contents
		if path != "" {
			base = path.Base()
		}
		locks = append(locks, filepath.Join(dir, base+".lock"))
	}
	return buildlogs.Locked(locks...)
}

// derivationOf returns the derivation of an installable: of an output its deriver.
func derivationOf(ctx context.Context, s store.Store, built derivation.DerivedPath) (storepath.Path, error) {
	if built, ok := built.(derivation.Built); ok {
		return resolveDerivation(ctx, s, built.Drv)
	}
	path := built.(derivation.Opaque).Path
	if path.IsDerivation() {
		return path, nil
	}
	info, err := s.QueryPathInfo(ctx, path)
	if err != nil {
		return "", err
	}
	if info.Deriver == "" {
		return "", fmt.Errorf("'%s' has no known deriver, so there is no build log", path)
	}
	return info.Deriver, nil
}
